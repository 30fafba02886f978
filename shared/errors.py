"""The errors that Parecido raises on purpose.

    ParecidoError
    ├── UsageError              the caller's input is wrong: exit status 2
    │   ├── SettingsError
    │   ├── CatalogueError
    │   ├── WeightsError
    │   └── SnapshotMissing     no snapshot is published
    ├── Busy                    another build is writing to the same data directory
    ├── StorageError            the disk is full, read-only or failing
    ├── ClusterError            a cluster is not reachable, or fails
    ├── SnapshotError           a snapshot is damaged or of another format
    ├── StoreUnavailable        the server with a snapshot's vectors does not answer
    ├── ImageError              exit status 2
    │   ├── ImageTooLarge       in bytes or in pixels
    │   ├── UnsupportedImage    not in a supported format
    │   ├── BrokenImage         in a supported format, but not decodable
    │   └── ImageTooCostly      decoding it takes too much memory or time
    └── RequestError            a search request that can't be answered
        ├── InvalidRequest
        ├── InvalidEmbedding
        ├── UnsupportedBody
        ├── BodyTooLarge        apart from images
        ├── UnknownItem
        ├── UnknownCategory
        ├── UnknownQuery        out of distribution, and the caller asked for an error then
        ├── UnknownWords        the catalogue uses none of the words of a text
        ├── ImageNotFound
        ├── DamagedSnapshot     the served snapshot is damaged where this request reads it
        ├── FiltersUnavailable  the snapshot is of a version without filters
        ├── FilterTooWide       too many items pass for the server with the vectors
        ├── ImagesUnavailable   the snapshot's embeddings were given without a backbone
        ├── TextUnavailable     the snapshot's items are not described
        ├── FeedbackOff
        ├── KeyRequired         no valid API key
        ├── RateLimited         too many requests of one key or address
        ├── UrlNotAllowed       an image URL that must not be fetched
        ├── ImageNotFetched     an image URL without an image
        ├── NotReady
        ├── Overloaded          too many requests are waiting
        ├── SlowClient          the request did not arrive in time
        └── ClientGone          the client has closed its connection

Messages say what is wrong, where (file, row, field), and what was expected. `code` is the stable name in the JSON error
body; `search_service/api/error_handlers.py` has the table from error to HTTP status.
"""

from typing import ClassVar, Literal


class ParecidoError(Exception):
    """The root of the tree."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1


class RetryLater(Exception):
    """A mix-in for errors after which a retry may succeed.

    Attributes:
        retry_after_s: seconds until the retry.
    """

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        """Create the error with a message and the seconds until a retry."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UsageError(ParecidoError):
    """The user's input is wrong."""

    code = "usage"
    exit_status = 2


class SettingsError(UsageError):
    """A setting or an option has an invalid value."""

    code = "invalid_setting"


class CatalogueError(UsageError):
    """A catalogue can't be read, is empty, or has too many invalid entries."""

    code = "invalid_catalogue"


class WeightsError(UsageError):
    """A weights file is missing, or is not a file of the expected weights."""

    code = "invalid_weights"


class SnapshotMissing(UsageError):
    """No snapshot is published in the data directory."""

    code = "no_snapshot"


class Busy(ParecidoError):
    """Another process is writing to the data directory."""

    code = "busy"


class StorageError(ParecidoError):
    """A file can't be written: the disk is full, read-only or failing."""

    code = "storage"


class ClusterError(ParecidoError):
    """The cluster for embedding is not reachable, is not suitable, or fails repeatedly."""

    code = "cluster"


class SnapshotError(ParecidoError):
    """A snapshot is damaged, incomplete, or of a format that this version can't read."""

    code = "bad_snapshot"


class StoreUnavailable(ParecidoError, RetryLater):
    """The server with the vectors of a snapshot does not answer, or reports an error."""

    code = "store_unavailable"


class ImageError(ParecidoError):
    """An image can't be used."""

    code = "bad_image"
    exit_status = 2


class ImageTooLarge(ImageError):
    """An image has too many bytes or pixels."""

    code = "image_too_large"


class UnsupportedImage(ImageError):
    """The bytes are not an image in a supported format."""

    code = "unsupported_image"


class BrokenImage(ImageError):
    """The image is in a supported format, but can't be decoded."""

    code = "broken_image"


class ImageTooCostly(ImageError):
    """Decoding an image takes too much memory or time.

    Attributes:
        reason: the exceeded limit; `stalled` if the decoder got little processor time.
    """

    code = "image_too_costly"

    def __init__(self, message: str, reason: Literal["time", "memory", "stalled"] = "time") -> None:
        """Create the error with a message and the exceeded limit."""
        super().__init__(message)
        self.reason = reason


class RequestError(ParecidoError):
    """A search request that can't be answered."""

    code = "bad_request"


class InvalidRequest(RequestError):
    """A field is missing, contradicts another, or has an invalid value."""

    code = "invalid_request"


class InvalidEmbedding(RequestError):
    """A query embedding has the wrong length, or no direction."""

    code = "invalid_embedding"


class UnsupportedBody(RequestError):
    """The route does not accept the request's content type."""

    code = "unsupported_body"


class BodyTooLarge(RequestError):
    """The request has more bytes, apart from its images, than the route accepts."""

    code = "body_too_large"


class UnknownItem(RequestError):
    """No item has this id."""

    code = "unknown_item"


class UnknownCategory(RequestError):
    """No category has this name."""

    code = "unknown_category"


class UnknownQuery(RequestError):
    """The query is out of distribution, and the caller asked for an error then."""

    code = "unknown_query"


class UnknownWords(RequestError):
    """The catalogue uses none of the words of a text."""

    code = "unknown_words"


class ImageNotFound(RequestError):
    """The item exists, but its image file is missing."""

    code = "image_not_found"


class DamagedSnapshot(RequestError):
    """The served snapshot is damaged where this request reads it; other requests may succeed."""

    code = "damaged_snapshot"


class FiltersUnavailable(RequestError):
    """The served snapshot has no index of the metadata, since an older version built it."""

    code = "filters_unavailable"


class FilterTooWide(RequestError):
    """Too many items pass the filter for a timely search on the server with the vectors."""

    code = "filter_too_wide"


class ImagesUnavailable(RequestError):
    """The served snapshot was built from given embeddings without a backbone, so it can't embed images."""

    code = "images_unavailable"


class TextUnavailable(RequestError):
    """The served snapshot has no words, so it can't be searched by text."""

    code = "text_unavailable"


class FeedbackOff(RequestError):
    """The service does not record feedback."""

    code = "feedback_off"


class KeyRequired(RequestError):
    """The request has no valid API key."""

    code = "key_required"


class RateLimited(RequestError, RetryLater):
    """A key or an address has sent too many requests."""

    code = "rate_limited"


class UrlNotAllowed(RequestError):
    """The service must not fetch images from this URL."""

    code = "url_not_allowed"


class ImageNotFetched(RequestError):
    """No image could be fetched from a URL."""

    code = "image_not_fetched"


class NotReady(RequestError, RetryLater):
    """No snapshot is being served."""

    code = "not_ready"


class Overloaded(RequestError, RetryLater):
    """The service is overloaded: this request would not be answered in time."""

    code = "overloaded"


class SlowClient(RequestError):
    """The complete request did not arrive in time."""

    code = "slow_client"


class ClientGone(RequestError):
    """The client has closed its connection, so its request was abandoned."""

    code = "client_gone"
