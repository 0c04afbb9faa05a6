"""Tags: what is known of them, their files, and where they come from."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from small import small_dataset

from pyrosynth.audio.descriptors import NAMES, describe, describe_features
from pyrosynth.cli.app import main
from pyrosynth.data.labeling import DESCRIBED, descriptor_tags, name_tags
from pyrosynth.data.tags import Tag, TagTable, labelled, missing, read_tags, write_tags
from pyrosynth.errors import InputError
from pyrosynth.training.fit import fit

TONE = Tag("tone", ("dark", "bright"))
SIZE = Tag("size", ("small", "medium", "large"))
UNKNOWN = np.nan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("tags"))


@pytest.fixture
def read(dataset, tmp_path):
    """Read a CSV file given as text."""

    def reader(text, encoding="utf-8"):
        file = tmp_path / "tags.csv"
        file.write_text(text, encoding=encoding)
        return read_tags(file, dataset)

    return reader


def test_tag():
    assert str(TONE) == "tone: dark/bright"
    assert Tag.parse(" size:small / medium/large ") == SIZE
    assert TONE.possible("Bright ") == TONE.possible("1") == [1]
    assert SIZE.possible("") == [0, 1, 2]
    count = Tag("count", ("2", "1", "0"))  # a class comes before the number of another one
    assert [count.possible(name) for name in count.classes] == [[0], [1], [2]]
    assert SIZE.possible("large | small") == [2, 0]
    stars = Tag("rating", ("1", "2", "3"))
    assert stars.possible("1") == [0]
    with pytest.raises(InputError, match="unknown value of rating '0'"):  # such as not rated
        stars.possible("0")
    with pytest.raises(InputError, match="unknown value of tone 'dim'; known: dark, bright"):
        TONE.possible("dim")


@pytest.mark.parametrize(
    "name", ["z1", "pc12", "..", "../../mine", "a\x1b[31mb", "t" * 81, ".hidden", "line\nfeed"]
)
def test_names_that_axes_and_files_cannot_have(name):
    with pytest.raises(InputError, match="is no name for a tag or a class"):
        Tag(name, ("dark", "bright"))
    with pytest.raises(InputError, match="is no name for a tag or a class"):
        Tag("tone", ("dark", name))


@pytest.mark.parametrize("labels", ["", "dark"])
def test_labels_that_tell_no_classes_apart_are_not_fitted(dataset, tmp_path, labels):
    rows = dataset.rows("all", human_only=True).tolist()
    lines = [f"{row},{labels}" for row in rows]
    (tmp_path / "tags.csv").write_text("\n".join(["preset,tone: dark/bright", *lines]))
    with pytest.raises(InputError, match="no two labels of tag 'tone' differ"):
        fit("flow_dis", dataset, steps=1, tags=tmp_path / "tags.csv", progress=False)


def test_a_tag_that_tells_no_classes_apart_costs_its_own_axis(dataset, tmp_path, caplog):
    rows = dataset.rows("all", human_only=True).tolist()
    lines = [f"{row},dark,{('soft', 'hard')[row % 2]}" for row in rows]
    header = "preset,tone: dark/bright,touch: soft/hard"
    (tmp_path / "tags.csv").write_text("\n".join([header, *lines]))
    run = fit("flow_dis", dataset, steps=1, tags=tmp_path / "tags.csv", progress=False)
    assert run.variant.dims.tags is not None
    (said,) = [record.getMessage() for record in caplog.records if "labels" in record.getMessage()]
    assert said.startswith(
        "no two labels of tag 'tone' differ among the training presets: no axis"
    )


def test_more_tags_than_the_latent_has_dimensions(dataset):
    many = [Tag(f"tag {i}", ("dark", "bright")) for i in range(100)]
    labels = np.arange(len(dataset))[:, None].repeat(100, 1) % 2
    with pytest.raises(InputError, match="100 tags for a latent of 16 dimensions"):
        fit("flow_dis", dataset, steps=1, tags=labelled(many, labels), progress=False)


@pytest.mark.parametrize("text", ["tone", "tone: dark", ": a/b", "tone: a/A", "tone: a//b"])
def test_bad_tag(text):
    with pytest.raises(InputError, match="such as 'brightness: dark/bright'"):
        Tag.parse(text)


def test_evidence_of_labels():
    table = labelled([TONE, SIZE], [[0, 2], [UNKNOWN, 1], [1, UNKNOWN]])
    assert missing(table.tags).tolist() == [[True, True, False], [True, True, True]]
    assert table.label_mask[:, 0].astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert table.label_mask[:, 1].astype(int).tolist() == [[0, 0, 1], [0, 1, 0], [1, 1, 1]]
    np.testing.assert_equal(table.labels, [[0, 2], [UNKNOWN, 1], [1, UNKNOWN]])
    assert (len(table), table.names, table.classes[0]) == (3, ("tone", "size"), ("dark", "bright"))


def test_bad_tables():
    with pytest.raises(InputError, match="a name of its own"):
        labelled([TONE, TONE], [[0, 0]])
    impossible = np.array([[[False, False, True], [True, True, True]]])
    with pytest.raises(InputError, match="rules out every class"):
        TagTable((TONE, SIZE), impossible)


def test_hiding():
    labels = np.tile([[0.0, 2.0], [1.0, UNKNOWN]], (1000, 1))
    table = labelled([TONE, SIZE], labels)
    hidden = table.hide(0.7, seed=3)
    known = ~np.isnan(hidden.labels)
    assert known[:, 0].mean() == pytest.approx(0.3, abs=0.03)
    assert not known[1::2, 1].any()
    np.testing.assert_equal(hidden.labels[known], labels[known])
    assert not hidden.label_mask[:, 0, 2].any()  # there is no third word of the first tag
    # By seed; what is hidden does not depend on the presets that follow.
    assert hidden.fingerprint() == table.hide(0.7, seed=3).fingerprint()
    assert hidden.fingerprint() != table.hide(0.7, seed=4).fingerprint()
    first = labelled([TONE, SIZE], labels[:500]).hide(0.7, seed=3)
    assert np.array_equal(first.label_mask, hidden.label_mask[:500])
    assert np.isnan(table.hide(1.0).labels).all()
    assert table.hide(0.0).fingerprint() == table.fingerprint()
    with pytest.raises(InputError, match="give a number from 0 to 1"):
        table.hide(70)


def test_a_file_comes_back_as_it_was_written(dataset, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (len(dataset), 2)).astype(float)
    labels[rng.random(labels.shape) < 0.4] = UNKNOWN
    table = labelled([TONE, SIZE], labels)
    table.label_mask[0, 1] = [True, False, True]
    file = tmp_path / "new" / "tags.csv"
    rows = dataset.rows("all", human_only=True)
    assert write_tags(file, table, dataset) == len(rows)
    again = read_tags(file, dataset)
    assert again.tags == table.tags
    assert np.array_equal(again.label_mask[rows], table.label_mask[rows])
    others = np.setdiff1d(np.arange(len(dataset)), rows)
    assert len(others)
    assert np.isnan(again.labels[others]).all()
    first, second, *_ = file.read_text().splitlines()
    assert first == "preset,name,tone: dark/bright,size: small/medium/large"
    assert second.startswith("0,")
    assert second.endswith(",small|large")
    assert [f.name for f in file.parent.iterdir()] == ["tags.csv"]
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        write_tags(file / "below", table, dataset)


def test_presets_are_found_by_name_as_well(dataset, read):
    names = dataset.names([3, 4])
    by_name = read(f"tone: dark/bright,name\nbright,{names[0]}\n,{names[1]}\n")
    by_number = read("preset,tone: dark/bright\n3,1\n", encoding="utf-8-sig")
    assert by_name.fingerprint() == by_number.fingerprint()
    assert by_name.labels[3] == 1
    assert np.isnan(by_name.labels[4:]).all()


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_index_that_pandas_writes_is_left_out(read, caplog, name):
    table = read(f"{name},preset,tone: dark/bright\n0,3,1\n1,4,dark\n")
    assert "the first column has no name and is left out, as an index" in caplog.text
    assert [str(tag) for tag in table.tags] == ["tone: dark/bright"]
    assert table.labels[3:5].ravel().tolist() == [1, 0]


HEAD = "preset,name,tone: dark/bright\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns are none"),
        ("id,tone: dark/bright\n", "line 1: the columns are id, tone: dark/bright; there must"),
        ("preset,preset,tone: a/b\n", "none twice"),
        ("preset,name\n", "line 1: there is no tag"),
        ("preset,tone: a/b,\n", "line 1: column 3 has no name; give it one such as"),
        (",preset,tone: a/b\nloud,3,a\n", "line 2: 'loud' is in a column without a name, and no"),
        ("preset,tone\n", "line 1: 'tone' is no tag; write a name, a colon, and its classes"),
        ("preset,tone:\n", "line 1: tag 'tone: ' is not usable"),
        ("preset,tone: a/b,tone: c/d\n", "line 1: tags tone, tone: each needs a name of its own"),
        (HEAD + "\n0,,dark\n1,,dim\n", "line 4: unknown value of tone 'dim'; known: dark, bright"),
        (HEAD + "9999,,dark\n", "line 2: there is no preset '9999'; give 0 to 139"),
        (HEAD + "-1,,dark\n", "line 2: there is no preset '-1'"),
        (HEAD + "0,somebody else,dark\n", "line 2: preset 0 is '.*', not 'somebody else'"),
        (HEAD + ",nobody,dark\n", "line 2: no preset has the name 'nobody'; give the number"),
        (HEAD + "5,,dark\n5,,bright\n", "line 3: preset 5 was in line 2 already"),
        (HEAD + "5,,dark,bright\n", "line 2: 4 cells, the header has 3"),
        (HEAD + '5,"a,dark\n', "line 2: unexpected end of data; mend the line"),
    ],
)
def test_wrong_files(read, text, message):
    with pytest.raises(InputError, match=message) as error:
        read(text)
    assert "tags.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_ambiguous_names_and_unreadable_files(dataset, read, tmp_path, monkeypatch):
    names = dataset.names
    monkeypatch.setattr(dataset, "names", lambda rows: ["same"] * len(names(rows)))
    with pytest.raises(InputError, match="line 2: 80 presets have the name 'same'; give the"):
        read(HEAD + ",same,dark\n")
    with pytest.raises(InputError, match="cannot read tags from '.*none.csv' .No such file"):
        read_tags(tmp_path / "none.csv", dataset)
    (tmp_path / "sound.wav").write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(InputError, match=r"cannot read tags from '.*sound.wav'"):
        read_tags(tmp_path / "sound.wav", dataset)


def test_descriptors_know_sounds_apart(dataset):
    spec = dataset.features
    rate, t = spec.sample_rate, np.arange(spec.sample_rate) / spec.sample_rate
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 300 * t)
    sounds = {
        "tone": tone,
        "quieter": tone / 10,
        "higher": 0.3 * np.sin(2 * np.pi * 600 * t),
        "noise": 0.1 * rng.standard_normal(rate),
        "plucked": tone * np.exp(-8 * t),
        "trembling": tone * (1 + 0.9 * np.sin(2 * np.pi * 6 * t)),
        "silence": 0 * t,
    }
    found = describe_features(spec(np.stack(list(sounds.values()))), spec)
    assert np.isfinite(found).all()
    by = dict(zip(sounds, found, strict=True))
    loudness, brightness, noisiness, length, movement = range(len(DESCRIBED))
    assert by["tone"][loudness] - by["quieter"][loudness] == pytest.approx(20, abs=0.3)
    assert by["higher"][brightness] - by["tone"][brightness] == pytest.approx(1, abs=0.3)
    assert by["noise"][noisiness] > by["tone"][noisiness] + 3
    assert by["tone"][length] == pytest.approx(0.5, abs=0.02)
    assert by["plucked"][length] < 0.15
    assert by["trembling"][movement] > 3 * by["tone"][movement]
    # A sound that is only less loud differs in nothing else.
    np.testing.assert_allclose(by["quieter"][1:4], by["tone"][1:4], atol=0.15)


def test_descriptors_agree_with_those_of_the_audio(tmp_path):
    dataset = small_dataset(tmp_path, augmented=0, synth="voice")
    rows = dataset.rows("all", human_only=True)
    ours = descriptor_tags(dataset, progress=False).descriptors[rows]
    theirs = describe(dataset.audio(rows), dataset.features)
    for i, name, at_least in ((0, "loudness", 0.99), (1, "centroid", 0.85)):
        assert spearmanr(ours[:, i], theirs[:, NAMES.index(name)])[0] > at_least, name


def test_thirds_are_those_of_the_training_presets(dataset):
    table = descriptor_tags(dataset, progress=False)
    assert table.tags == DESCRIBED
    assert len(table) == len(dataset)
    train = dataset.rows("train", human_only=True)
    labels, n = table.labels[train], len(train)
    for word in range(3):
        assert (abs((labels == word).sum(0) - n / 3) <= 2).all()
    for i in range(len(DESCRIBED)):
        low, middle, high = (table.descriptors[table.labels[:, i] == c, i] for c in range(3))
        assert low.max() < middle.min() <= middle.max() < high.min()
    human = descriptor_tags(dataset, human_only=True, progress=False)
    augmented = dataset.origin != "human"
    assert np.isnan(human.labels[augmented]).all()
    np.testing.assert_array_equal(human.labels[~augmented], table.labels[~augmented])
    silent = np.setdiff1d(np.arange(len(dataset)), dataset.rows("all"))
    assert np.isnan(table.labels[silent]).all()


def test_tags_from_names(dataset, monkeypatch):
    said = {
        0: "DarkPad2",
        1: "PLUCKED brite",
        2: "dark shiny thing",
        3: "Harddrive",
        4: "WARM-lead",
        5: "Not Bright",
        6: "NoDark bright",
        7: "No. 1 Bright",
    }
    names = dataset.names
    monkeypatch.setattr(
        dataset, "names", lambda rows: [said.get(r, "") for r in rows] if said else names(rows)
    )
    table = name_tags(dataset)
    of = {tag.name: table.labels[:, i] for i, tag in enumerate(table.tags)}
    np.testing.assert_equal(of["brightness"][:5], [0, 1, UNKNOWN, UNKNOWN, 0])
    np.testing.assert_equal(of["length"][:5], [1, 0, UNKNOWN, UNKNOWN, UNKNOWN])
    np.testing.assert_equal(of["hardness"][:5], [UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 0])
    assert of["brightness"][6:8].tolist() == [1, 1]
    assert np.isnan(table.labels[8:]).all()
    assert np.isnan(table.labels[5]).all()


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_that_spreadsheets_save(read, dataset, separator, encoding, tmp_path):
    text = "preset;name;tone: dark/bright;size: small, thin/big\r\n5;;dark;\r\n7;;;big\r\n"
    file = tmp_path / "spreadsheet.csv"
    file.write_bytes(text.replace(";", separator).encode(encoding))
    table = read_tags(file, dataset)
    assert [tag.name for tag in table.tags] == ["tone", "size"]
    assert (table.labels[5, 0], table.labels[7, 1]) == (0, 1)


def test_a_preset_of_many_digits(read):
    with pytest.raises(InputError, match="line 2: there is no preset '999"):
        read(HEAD + "9" * 5000 + ",,dark\n")


def test_a_file_of_tags_is_never_replaced(dataset, tmp_path, capsys):
    """Those that the command wrote are not either: somebody may have edited them."""
    out = tmp_path / "tags.csv"
    command = ["tags", str(dataset.path), "--out", str(out), "--from", "names"]
    assert main(command) == 0
    for content in (out.read_bytes().replace(b"\n", b" \n"), b"a novel", b""):
        out.write_bytes(content)
        assert main(command) == 2
        assert "is there already" in capsys.readouterr().err
        assert out.read_bytes() == content
