import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from indexer.catalogue.model import Catalogue, Problem
from indexer.catalogue.problems import write_problems
from indexer.catalogue.reader import read_catalogue
from shared.catalogue.items_database import MAX_METADATA_BYTES
from shared.errors import CatalogueError
from shared.images.formats import SUFFIXES


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with a few image files, whose content reading ignores."""
    for name in ("a.jpg", "b.jpg", "c.jpg", "a;b.jpg"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def read_csv(shop: Path) -> Callable[[str], Catalogue]:
    def read(text: str) -> Catalogue:
        (shop / "items.csv").write_text(text, encoding="utf-8", newline="")
        return read_catalogue(shop / "items.csv")

    return read


@pytest.fixture
def read_lines(shop: Path) -> Callable[..., Catalogue]:
    def read(*lines: object) -> Catalogue:
        """Strings are written as they are, anything else as JSON."""
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        (shop / "items.jsonl").write_text(text, encoding="utf-8")
        return read_catalogue(shop / "items.jsonl")

    return read


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _ids(catalogue: Catalogue) -> list[str]:
    return [item.item_id for item in catalogue.items]


def _only_reason(catalogue: Catalogue) -> str:
    (problem,) = catalogue.problems
    return problem.reason


# Folders


def test_a_folder_is_a_category_and_an_image_an_item(tmp_path: Path) -> None:
    _touch(tmp_path, "watches/b.png", "watches/a.JPG", "mice/wireless/small/c.webp", "mice/d.jpeg")
    catalogue = read_catalogue(tmp_path)
    assert [(item.item_id, item.category, item.images) for item in catalogue.items] == [
        ("mice/d.jpeg", "mice", ("mice/d.jpeg",)),
        ("mice/wireless/small/c.webp", "mice", ("mice/wireless/small/c.webp",)),
        ("watches/a.JPG", "watches", ("watches/a.JPG",)),
        ("watches/b.png", "watches", ("watches/b.png",)),
    ]
    assert catalogue.problems == ()
    assert catalogue.image_root == tmp_path.resolve()
    assert [source.file for source in catalogue.sources] == [str(tmp_path / item_id) for item_id in _ids(catalogue)]


def test_hidden_and_other_files_are_ignored(tmp_path: Path) -> None:
    _touch(
        tmp_path, "c/a.jpg", "c/.hidden.jpg", "c/.git/x.jpg", ".cache/c/x.jpg", "c/notes.txt", "c/Thumbs.db", "c/jpg"
    )
    catalogue = read_catalogue(tmp_path)
    assert _ids(catalogue) == ["c/a.jpg"]
    assert catalogue.problems == ()


def test_a_picture_beside_the_category_folders_is_a_problem(tmp_path: Path) -> None:
    _touch(tmp_path, "c/a.jpg", "stray.jpg")
    catalogue = read_catalogue(tmp_path)
    assert _ids(catalogue) == ["c/a.jpg"]
    reason = "lies beside the category folders: move it into one"
    assert catalogue.problems == (Problem(str(tmp_path / "stray.jpg"), None, "stray.jpg", reason),)


@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".jxl", ".svg"])
def test_a_picture_of_another_format_is_a_problem(tmp_path: Path, suffix: str) -> None:
    _touch(tmp_path, f"c/a{suffix}", "c/b.jpg")
    catalogue = read_catalogue(tmp_path)
    assert _ids(catalogue) == ["c/b.jpg"]
    (problem,) = catalogue.problems
    assert (problem.file, problem.row, problem.item_id) == (str(tmp_path / f"c/a{suffix}"), None, f"c/a{suffix}")
    assert problem.reason == f"{suffix.lower()} images can't be read: convert it to JPEG, PNG or WebP"


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_pictures_are_found_by_every_suffix_in_either_case(tmp_path: Path, suffix: str) -> None:
    _touch(tmp_path, f"c/a{suffix}", f"c/b{suffix.upper()}")
    assert _ids(read_catalogue(tmp_path)) == [f"c/a{suffix}", f"c/b{suffix.upper()}"]


def test_a_file_name_that_is_not_utf8_is_a_problem_that_can_be_written_down(tmp_path: Path) -> None:
    _touch(tmp_path, "c/a.jpg", "c/z.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/c/m\xff.jpg")).touch()
    catalogue = read_catalogue(tmp_path)
    assert _ids(catalogue) == ["c/a.jpg", "c/z.jpg"]
    assert _only_reason(catalogue) == "the file's name is not valid UTF-8: rename it"
    write_problems(tmp_path / "skipped.jsonl", catalogue.problems)
    written = json.loads((tmp_path / "skipped.jsonl").read_text(encoding="utf-8"))
    assert written["item_id"] == "c/m\\udcff.jpg"


def test_names_may_have_spaces_accents_and_emoji(tmp_path: Path) -> None:
    _touch(tmp_path, "Relojes de señora/el más caro.jpg", "🚲 bikes/a b;c|d.jpg")
    catalogue = read_catalogue(tmp_path)
    assert [item.category for item in catalogue.items] == ["Relojes de señora", "🚲 bikes"]
    assert _ids(catalogue) == ["Relojes de señora/el más caro.jpg", "🚲 bikes/a b;c|d.jpg"]


def test_two_unicode_forms_of_a_name_are_one_category(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    _touch(tmp_path, f"{composed}/a.jpg", f"{decomposed}/a.jpg")
    catalogue = read_catalogue(tmp_path)
    assert {item.category for item in catalogue.items} == {composed}
    assert sorted(_ids(catalogue)) == sorted([f"{composed}/a.jpg", f"{decomposed}/a.jpg"])
    assert all((tmp_path / item.images[0]).is_file() for item in catalogue.items)


def test_a_link_to_a_folder_is_reported_and_not_followed(tmp_path: Path) -> None:
    _touch(tmp_path, "catalogue/c/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "catalogue/linked").symlink_to(tmp_path / "elsewhere")
    catalogue = read_catalogue(tmp_path / "catalogue")
    assert _ids(catalogue) == ["c/a.jpg"]
    assert catalogue.problems[0].file == str(tmp_path / "catalogue/linked")
    assert "link to a folder" in _only_reason(catalogue)


def test_a_link_to_a_file_outside_is_rejected(tmp_path: Path) -> None:
    _touch(tmp_path, "catalogue/c/a.jpg", "secret.jpg")
    (tmp_path / "catalogue/c/b.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "catalogue/c/inside.jpg").symlink_to("a.jpg")
    (tmp_path / "catalogue/c/nowhere.jpg").symlink_to("gone.jpg")
    catalogue = read_catalogue(tmp_path / "catalogue")
    assert _ids(catalogue) == ["c/a.jpg", "c/inside.jpg"]
    outside, nowhere = catalogue.problems
    assert (outside.item_id, nowhere.item_id) == ("c/b.jpg", "c/nowhere.jpg")
    assert "lies outside" in outside.reason
    assert "does not exist" in nowhere.reason


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _touch(tmp_path, "c/a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CatalogueError, match=r"the folder .*locked can't be read: Permission denied"):
        read_catalogue(tmp_path)


# CSV


def test_csv_as_a_shop_exports_it(read_csv: Callable[[str], Catalogue], shop: Path) -> None:
    catalogue = read_csv("item_id,category,image,title,price\r\n7,mouse,a.jpg,Small mouse,9.90\r\n8,watch,b.jpg,,\r\n")
    first, second = catalogue.items
    assert (first.item_id, first.category, first.images) == ("7", "mouse", ("a.jpg",))
    assert first.metadata == {"title": "Small mouse", "price": "9.90"}
    assert second.metadata == {}
    assert [(source.file, source.row) for source in catalogue.sources] == [("items.csv", 2), ("items.csv", 3)]
    assert catalogue.path == shop / "items.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "bom"])
def test_csv_delimiter_and_byte_order_mark(read_csv: Callable[[str], Catalogue], delimiter: str, mark: str) -> None:
    rows = [["item_id", "category", "image"], ["1", "c", "a.jpg"], ["2", "c", "b.jpg"]]
    catalogue = read_csv(mark + "\n".join(delimiter.join(row) for row in rows))
    assert [(item.item_id, item.images) for item in catalogue.items] == [("1", ("a.jpg",)), ("2", ("b.jpg",))]


def test_csv_quoted_fields_may_hold_newlines_and_a_row_is_numbered_by_its_last_line(
    read_csv: Callable[[str], Catalogue],
) -> None:
    catalogue = read_csv('item_id,category,image,text\n1,c,a.jpg,"two\nlines, ""quoted"""\n2,c,gone.jpg,\n')
    assert catalogue.items[0].metadata == {"text": 'two\nlines, "quoted"'}
    assert catalogue.sources[0].row == 3
    assert catalogue.problems[0].row == 4


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("id,category,image", "lacks item_id; it has id, category, image"),
        ("item_id,image", "lacks category; it has item_id, image"),
        ("item_id,category,photo", r"lacks image \(or images\); it has item_id, category, photo"),
        ("sku", r"lacks item_id, category, image \(or images\); it has sku"),
        ("", "it has nothing"),
    ],
)
def test_csv_header_must_name_the_columns(read_csv: Callable[[str], Catalogue], header: str, missing: str) -> None:
    with pytest.raises(CatalogueError, match=rf"the header of .*items\.csv .*{missing}"):
        read_csv(f"{header}\n1,c,a.jpg\n")


@pytest.mark.parametrize(
    ("row", "item_id", "reason"),
    [
        ("1,c,a.jpg,extra", "1", "has 1 more columns than the header"),
        ("1,c,a.jpg,x,y", "1", "has 2 more columns than the header"),
        ("1,c", "1", "names no image; expected `image` or `images`"),
        ("1,c,", "1", "names no image; expected `image` or `images`"),
        ("1,,a.jpg", "1", "`category` is missing or empty"),
        ("1,  ,a.jpg", "1", "`category` is missing or empty"),
        (",c,a.jpg", None, "`item_id` is missing or empty"),
        ("1,c\u200b,a.jpg", "1", "`category` has characters that can't be shown: 'c\\u200b'"),
        ('1,"c\nd",a.jpg', "1", "`category` has characters that can't be shown: 'c\\nd'"),
        (f"1,{'c' * 501},a.jpg", "1", "`category` has 501 characters; at most 500 are allowed"),
    ],
)
def test_a_wrong_csv_row_is_a_problem(
    read_csv: Callable[[str], Catalogue], row: str, item_id: str | None, reason: str
) -> None:
    catalogue = read_csv(f"item_id,category,image\n0,c,a.jpg\n{row}\n9,c,b.jpg\n")
    assert catalogue.problems == (Problem("items.csv", 3 + row.count("\n"), item_id, reason),)
    assert _ids(catalogue) == ["0", "9"]


@pytest.mark.parametrize("cell", ["a.jpg|b.jpg", "a.jpg;b.jpg", '"[""a.jpg"", ""b.jpg""]"', " a.jpg | b.jpg ;"])
@pytest.mark.parametrize("column", ["image", "images"])
def test_csv_cell_with_several_images(read_csv: Callable[[str], Catalogue], cell: str, column: str) -> None:
    catalogue = read_csv(f"item_id,category,{column}\n1,c,{cell}\n")
    assert catalogue.items[0].images == ("a.jpg", "b.jpg")
    assert catalogue.n_entries == 2


def test_csv_a_separator_may_be_part_of_a_file_name(read_csv: Callable[[str], Catalogue]) -> None:
    assert read_csv("item_id,category,image\n1,c,a;b.jpg\n").items[0].images == ("a;b.jpg",)


def test_csv_an_image_with_brackets_in_its_name_is_one_image(read_csv: Callable[[str], Catalogue], shop: Path) -> None:
    (shop / "[1] a.jpg").touch()
    assert read_csv("item_id,category,image\n1,c,[1] a.jpg\n").items[0].images == ("[1] a.jpg",)


def test_csv_with_a_stray_quote_names_the_row(read_csv: Callable[[str], Catalogue]) -> None:
    with pytest.raises(CatalogueError, match=r"items\.csv is not valid CSV: row 3"):
        read_csv('item_id,category,image\n1,c,a.jpg\n2,c,"a.jpg"x\n')


def test_csv_in_another_encoding_is_rejected(shop: Path) -> None:
    (shop / "latin.csv").write_bytes("item_id,category,image\n1,señora,a.jpg\n".encode("latin-1"))
    with pytest.raises(CatalogueError, match="is not in UTF-8"):
        read_catalogue(shop / "latin.csv")


def test_csv_names_keep_slashes_and_item_ids_need_no_path(read_csv: Callable[[str], Catalogue]) -> None:
    catalogue = read_csv("item_id,category,image\n../a/b,home/kitchen,a.jpg\n")
    assert (catalogue.items[0].item_id, catalogue.items[0].category) == ("../a/b", "home/kitchen")


# JSON lines


def test_json_lines_keep_the_types_of_metadata(read_lines: Callable[..., Catalogue]) -> None:
    metadata = {"price": 9.5, "stock": 3, "sizes": ["S", "M"], "sale": True, "made": {"in": "Vigo"}, "title": "ratón"}
    catalogue = read_lines({"item_id": "1", "category": "c", "image": "a.jpg", "none": None, **metadata})
    assert catalogue.items[0].metadata == metadata


def test_json_lines_take_a_list_of_images_and_numeric_ids(read_lines: Callable[..., Catalogue]) -> None:
    catalogue = read_lines({"item_id": 42, "category": 2024, "images": ["b.jpg", "a.jpg"]})
    assert [(item.item_id, item.category, item.images) for item in catalogue.items] == [
        ("42", "2024", ("b.jpg", "a.jpg"))
    ]


def test_json_lines_blank_lines_count_but_are_no_entries(read_lines: Callable[..., Catalogue]) -> None:
    catalogue = read_lines("", {"item_id": "1", "category": "c", "image": "a.jpg"}, "  ", "{}", "")
    assert catalogue.sources[0].row == 2
    assert [(problem.row, problem.reason) for problem in catalogue.problems] == [(4, "`item_id` is missing or empty")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1, 2]", "is not a JSON object but list"),
        ('"text"', "is not a JSON object but str"),
        ("null", "is not a JSON object but NoneType"),
        ("item 2", "is not valid JSON: "),
        ('{"item_id": "2"', "is not valid JSON: "),
        ('{"item_id": "2", "category": "c", "image": "a.jpg", "price": NaN}', "is not valid JSON: NaN is not in JSON"),
        (
            '{"item_id": "2", "category": "c", "image": "a.jpg", "price": 1e999}',
            "is not valid JSON: Out of range float",
        ),
        ('{"item_id": "2", "category": "c", "image": "a.jpg", "title": "\\ud800"}', "is not valid JSON: 'utf-8' codec"),
        ("[" * 100_000, "is not valid JSON: "),
        ('{"item_id": true, "category": "c", "image": "a.jpg"}', "`item_id` is missing or empty"),
        ('{"item_id": "2", "category": ["c"], "image": "a.jpg"}', "`category` is missing or empty"),
        (
            '{"item_id": "2", "category": "c", "image": 5}',
            "`image` or `images` is neither a path nor a list of paths: 5",
        ),
        ('{"item_id": "2", "category": "c", "images": ["a.jpg", 5]}', "`image` or `images` is neither"),
        ('{"item_id": "2", "category": "c", "images": ["a.jpg", " "]}', "`image` or `images` is neither"),
        ('{"item_id": "2", "category": "c", "images": []}', "names no image"),
        ('{"item_id": "2", "category": "c", "image": "a.jpg", "images": ["b.jpg"]}', "has both `image` and `images`"),
    ],
)
def test_a_wrong_json_line_is_a_problem(read_lines: Callable[..., Catalogue], line: str, reason: str) -> None:
    good = [{"item_id": number, "category": "c", "image": "a.jpg"} for number in (1, 3)]
    catalogue = read_lines(good[0], line, good[1])
    assert _ids(catalogue) == ["1", "3"]
    (problem,) = catalogue.problems
    assert (problem.file, problem.row) == ("items.jsonl", 2)
    assert problem.reason.startswith(reason)


def test_json_lines_in_another_encoding_are_rejected(shop: Path) -> None:
    (shop / "latin.jsonl").write_bytes('{"item_id": "ñ"}'.encode("latin-1"))
    with pytest.raises(CatalogueError, match="is not in UTF-8"):
        read_catalogue(shop / "latin.jsonl")


# Ids and images, whatever the format


def test_metadata_that_no_snapshot_could_serve_are_a_problem(read_lines: Callable[..., Catalogue]) -> None:
    line = {"item_id": "1", "category": "cup", "image": "a.jpg", "title": "Cup"}
    room = MAX_METADATA_BYTES - len(json.dumps({"title": "Cup", "description": ""}))
    longest, longer = ({**line, "description": "a" * n_chars} for n_chars in (room, room + 1))
    assert _ids(read_lines(longest)) == ["1"]
    reason = _only_reason(read_lines(longer, {**line, "item_id": "2"}))
    assert (
        reason
        == "its metadata have 1,048,577 bytes as JSON, most of them in 'description'; at most 1,048,576 are allowed"
    )


def test_an_item_id_used_twice_keeps_the_first(read_lines: Callable[..., Catalogue]) -> None:
    catalogue = read_lines(
        {"item_id": "1", "category": "c", "image": "a.jpg"},
        {"item_id": "1", "category": "d", "image": "b.jpg"},
        {"item_id": "2", "category": "c", "image": "c.jpg"},
    )
    assert [(item.item_id, item.images) for item in catalogue.items] == [("1", ("a.jpg",)), ("2", ("c.jpg",))]
    assert catalogue.problems == (Problem("items.jsonl", 2, "1", "the item id '1' was already used in row 1"),)


def test_an_image_named_twice_in_an_item_counts_once(read_lines: Callable[..., Catalogue]) -> None:
    catalogue = read_lines({"item_id": "1", "category": "c", "images": ["a.jpg", "b.jpg", "./a.jpg"]})
    assert catalogue.items[0].images == ("a.jpg", "b.jpg")
    assert catalogue.problems == (Problem("items.jsonl", 1, "1", "the image './a.jpg' is named twice in this item"),)
    assert catalogue.n_entries == 3


def test_two_items_may_share_an_image(read_lines: Callable[..., Catalogue]) -> None:
    catalogue = read_lines(*({"item_id": number, "category": "c", "image": "a.jpg"} for number in (1, 2)))
    assert _ids(catalogue) == ["1", "2"]


def test_an_item_keeps_its_good_images_and_is_left_out_without_any(
    read_lines: Callable[..., Catalogue], shop: Path
) -> None:
    catalogue = read_lines(
        {"item_id": "half", "category": "c", "images": ["gone.jpg", "a.jpg"]},
        {"item_id": "none", "category": "c", "images": ["gone.jpg", "lost.jpg"]},
        {"item_id": "last", "category": "c", "image": "b.jpg"},
    )
    assert [(item.item_id, item.images) for item in catalogue.items] == [("half", ("a.jpg",)), ("last", ("b.jpg",))]
    gone, lost = (f"the image {name!r} does not exist in {shop.resolve()}" for name in ("gone.jpg", "lost.jpg"))
    assert catalogue.problems == (
        Problem("items.jsonl", 1, "half", gone),
        Problem("items.jsonl", 2, "none", f"{gone}; {lost}"),
    )


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("../secret.jpg", "lies outside"),
        ("images/../../secret.jpg", "lies outside"),
        ("linked.jpg", "lies outside"),
        ("linked/secret.jpg", "lies outside"),
        ("../way back in/images/a.jpg", "lies outside"),
        ("images", "does not exist"),
        ("gone.jpg", "does not exist"),
        ("x" * 5000, "does not exist"),
        ("https://shop.example/a.jpg", "is a URL: download it"),
        ("file:///etc/passwd", "is a URL: download it"),
        ("a\0.jpg", "is not valid UTF-8"),
    ],
)
def test_an_image_must_lie_in_the_root(tmp_path: Path, image: str, reason: str) -> None:
    _touch(tmp_path, "shop/images/a.jpg", "secret.jpg")
    (tmp_path / "shop/linked.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "shop/linked").symlink_to(tmp_path)
    (tmp_path / "way back in").symlink_to(tmp_path / "shop")
    entries = [("1", "images/a.jpg"), ("2", image), ("3", str(tmp_path / "secret.jpg")), ("4", "images/a.jpg")]
    file = tmp_path / "shop/items.jsonl"
    file.write_text("\n".join(json.dumps({"item_id": a, "category": "c", "image": b}) for a, b in entries))
    catalogue = read_catalogue(file)
    assert _ids(catalogue) == ["1", "4"]
    first, absolute = catalogue.problems
    assert (first.row, first.item_id) == (2, "2")
    assert reason in first.reason
    assert "lies outside" in absolute.reason


def test_image_root_may_be_a_higher_directory(tmp_path: Path) -> None:
    _touch(tmp_path, "photos/a.jpg", "lists/x")
    (tmp_path / "lists/items.csv").write_text("item_id,category,image\n1,c,photos/a.jpg\n2,c,../photos/a.jpg\n")
    catalogue = read_catalogue(tmp_path / "lists/items.csv", image_root=tmp_path)
    assert [(item.item_id, item.images) for item in catalogue.items] == [("1", ("photos/a.jpg",))]
    assert catalogue.problems[0].item_id == "2"


def test_an_absolute_path_inside_the_root_becomes_relative(read_lines: Callable[..., Catalogue], shop: Path) -> None:
    catalogue = read_lines({"item_id": "1", "category": "c", "image": str(shop.resolve() / "a.jpg")})
    assert catalogue.items[0].images == ("a.jpg",)


def test_accents_in_image_names_are_taken_as_the_file_system_has_them(
    read_lines: Callable[..., Catalogue], shop: Path
) -> None:
    decomposed = unicodedata.normalize("NFD", "café.jpg")
    (shop / decomposed).touch()
    (shop / "🚲 bike.jpg").touch()
    catalogue = read_lines(
        {"item_id": "é", "category": unicodedata.normalize("NFD", "cafés"), "image": decomposed},
        {"item_id": "🚲", "category": "🚲 / bikes", "image": "🚲 bike.jpg"},
    )
    assert [(item.item_id, item.category, item.images) for item in catalogue.items] == [
        ("é", unicodedata.normalize("NFC", "cafés"), (decomposed,)),
        ("🚲", "🚲 / bikes", ("🚲 bike.jpg",)),
    ]


# The catalogue as a whole


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("items.csv", "item_id,category,image\n", "is empty; expected one item per line"),
        ("items.csv", "", "it has nothing"),
        ("items.jsonl", "\n\n", "is empty; expected one item per line"),
        ("items.xlsx", "", r"is neither a directory nor a \.csv"),
        ("items", "", r"is neither a directory nor a \.csv"),
    ],
)
def test_a_file_that_is_not_a_catalogue_is_rejected(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CatalogueError, match=rf"{name} .*{message}"):
        read_catalogue(tmp_path / name)


def test_an_empty_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="is empty; expected one folder per category, with images in it"):
        read_catalogue(tmp_path)


def test_a_catalogue_that_does_not_exist_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"gone\.csv does not exist"):
        read_catalogue(tmp_path / "gone.csv")


def test_a_catalogue_in_a_folder_whose_name_is_not_utf8_is_rejected(tmp_path: Path) -> None:
    """Before it is read: the snapshot could not name it."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    _touch(folder, "c/a.jpg")
    with pytest.raises(CatalogueError, match=r"caf\\udce9 is not valid UTF-8: rename it"):
        read_catalogue(folder)


@pytest.mark.parametrize("suffix", [".CSV", ".tsv", ".ndjson", ".json", ".JSONL"])
def test_suffixes(shop: Path, suffix: str) -> None:
    path = shop / f"items{suffix}"
    is_json = "json" in suffix.lower()
    path.write_text(
        '{"item_id": "1", "category": "c", "image": "a.jpg"}' if is_json else "item_id\tcategory\timage\n1\tc\ta.jpg\n"
    )
    assert _ids(read_catalogue(path)) == ["1"]


def test_problems_read_as_sentences() -> None:
    assert Problem("items.csv", 3, "1", "is bad").sentence() == "items.csv, row 3: is bad"
    assert Problem("c/a.jpg", None, None, "is bad").sentence() == "c/a.jpg: is bad"
    assert Problem("c/a.jpg", None, None, "is bad").as_dict() == {
        "file": "c/a.jpg",
        "row": None,
        "item_id": None,
        "reason": "is bad",
    }
