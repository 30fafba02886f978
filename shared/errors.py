"""Every error that Parecido raises on purpose.

    ParecidoError
    ├── UsageError              the caller's input is wrong: exit status 2
    │   ├── SettingsError
    │   ├── CatalogueError
    │   ├── WeightsError
    │   └── SnapshotMissing     nothing is published where one was expected
    ├── Busy                    another build is writing to the same data directory
    ├── StorageError            the disk is full, read-only or failing
    ├── ClusterError            a cluster can't be reached, or can't do its work
    ├── SnapshotError           a snapshot is damaged or of another format
    ├── StoreUnavailable        the server that has a snapshot's vectors does not answer
    ├── ImageError              exit status 2
    │   ├── ImageTooLarge       in bytes or in pixels
    │   ├── UnsupportedImage    not one of the formats that we read
    │   ├── BrokenImage         the right format, but it can't be decoded
    │   └── ImageTooCostly      decoding it takes more memory or time than it may
    └── RequestError            a search request that can't be answered
        ├── InvalidRequest
        ├── InvalidEmbedding
        ├── UnsupportedBody
        ├── BodyTooLarge        beside the images
        ├── UnknownItem
        ├── UnknownCategory
        ├── UnknownQuery        it shows none of the categories, and the caller wants none searched
        ├── ImageNotFound
        ├── DamagedSnapshot     what is served has a fault that only this request has met
        ├── FiltersUnavailable  the snapshot is of a version that could not filter
        ├── FilterTooWide       the server that has the vectors can't search so many items that pass
        ├── ImagesUnavailable   the snapshot's embeddings were given, and it has no base
        ├── FeedbackOff
        ├── KeyRequired         no API key, or none that is let in
        ├── RateLimited         too many requests of one key or address
        ├── UrlNotAllowed       an image URL that is not to be fetched from
        ├── ImageNotFetched     one that leads to no image
        ├── NotReady
        ├── Overloaded          so many wait already that this one would not be answered in time
        ├── SlowClient          its request did not come in time
        └── ClientGone          nobody waits for the answer any more

Messages say what was wrong, where (file, row, field), what was wanted and what was found. `code` is the stable
name that the JSON error body carries; `search_service/api/error_handlers.py` holds the one table from error to status.
"""

from typing import ClassVar, Literal


class ParecidoError(Exception):
    """The root of the tree."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1


class AskAgain(Exception):
    """Beside the tree: an error that passes by itself.

    Attributes:
        retry_after_s: when to ask again, in seconds from now.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        """Say why, and when to ask again."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UsageError(ParecidoError):
    """Something that the user gave is wrong."""

    code = "usage"
    exit_status = 2


class SettingsError(UsageError):
    """A setting or an option has a value that it can't have."""

    code = "invalid_setting"


class CatalogueError(UsageError):
    """A catalogue can't be read at all, is empty, or too much of it is bad."""

    code = "invalid_catalogue"


class WeightsError(UsageError):
    """A weights file is missing, is not what it should be, or names something that we won't load."""

    code = "invalid_weights"


class SnapshotMissing(UsageError):
    """There is no published snapshot where one was expected."""

    code = "no_snapshot"


class Busy(ParecidoError):
    """Another process is writing to the data directory."""

    code = "busy"


class StorageError(ParecidoError):
    """Something can't be written: the disk is full, read-only or failing."""

    code = "storage"


class ClusterError(ParecidoError):
    """The cluster that embeds can't be reached, is not fit for it, or fails again and again."""

    code = "cluster"


class SnapshotError(ParecidoError):
    """A snapshot is damaged, incomplete, or of a format that this version can't read."""

    code = "bad_snapshot"


class StoreUnavailable(ParecidoError, AskAgain):
    """The server that has the vectors of a snapshot does not answer, or can't do now what it is asked for."""

    code = "store_unavailable"


class ImageError(ParecidoError):
    """An image can't be used."""

    code = "bad_image"
    exit_status = 2


class ImageTooLarge(ImageError):
    """An image has more bytes or more pixels than allowed."""

    code = "image_too_large"


class UnsupportedImage(ImageError):
    """The bytes are not an image of a format that we read."""

    code = "unsupported_image"


class BrokenImage(ImageError):
    """The format was recognised, but the picture can't be decoded."""

    code = "broken_image"


class ImageTooCostly(ImageError):
    """Decoding an image takes more memory or time than it may.

    Attributes:
        reason: of which it takes too much; `stalled` where it was given little time on a processor.
    """

    code = "image_too_costly"

    def __init__(self, message: str, reason: Literal["time", "memory", "stalled"] = "time") -> None:
        """Say what it takes, and what the limit is."""
        super().__init__(message)
        self.reason = reason


class RequestError(ParecidoError):
    """A search request that can't be answered."""

    code = "bad_request"


class InvalidRequest(RequestError):
    """A field is missing, contradicts another, or has a value that it can't have."""

    code = "invalid_request"


class InvalidEmbedding(RequestError):
    """A query embedding of the wrong length, or not a direction at all."""

    code = "invalid_embedding"


class UnsupportedBody(RequestError):
    """The request's content type is not one that the route reads."""

    code = "unsupported_body"


class BodyTooLarge(RequestError):
    """The request has more bytes beside its images than its route accepts."""

    code = "body_too_large"


class UnknownItem(RequestError):
    """No item has this id."""

    code = "unknown_item"


class UnknownCategory(RequestError):
    """No category has this name."""

    code = "unknown_category"


class UnknownQuery(RequestError):
    """The query shows none of the catalogue's categories, and the caller wants it refused then."""

    code = "unknown_query"


class ImageNotFound(RequestError):
    """The item is known, but its image file is not where the catalogue had it."""

    code = "image_not_found"


class DamagedSnapshot(RequestError):
    """The snapshot being served is damaged where this request reads it; others may be answered."""

    code = "damaged_snapshot"


class FiltersUnavailable(RequestError):
    """The snapshot being served has no index of the metadata: an older version built it."""

    code = "filters_unavailable"


class FilterTooWide(RequestError):
    """The vectors are on a server, and it can't search in time through so many items as pass the filter."""

    code = "filter_too_wide"


class ImagesUnavailable(RequestError):
    """The snapshot being served was built of given embeddings without a base: it can't embed an image."""

    code = "images_unavailable"


class FeedbackOff(RequestError):
    """The service keeps no feedback."""

    code = "feedback_off"


class KeyRequired(RequestError):
    """No API key came with the request, or none that is let in."""

    code = "key_required"


class RateLimited(RequestError, AskAgain):
    """One key or address has asked too often."""

    code = "rate_limited"


class UrlNotAllowed(RequestError):
    """The service fetches no images from this URL."""

    code = "url_not_allowed"


class ImageNotFetched(RequestError):
    """An image URL leads to no image."""

    code = "image_not_fetched"


class NotReady(RequestError, AskAgain):
    """No snapshot is being served."""

    code = "not_ready"


class Overloaded(RequestError, AskAgain):
    """The service has more to do than it can in time."""

    code = "overloaded"


class SlowClient(RequestError):
    """The request did not come in time as a whole."""

    code = "slow_client"


class ClientGone(RequestError):
    """The client has closed its connection, so nothing was done for it; nobody reads this."""

    code = "client_gone"
