"""Whatever bytes a file has: a value, or an error of ours in one line; little memory, little time, and nothing else.

`python -m benchmarks hostile` tries the same by the thousand, and where atheris is installed, led by coverage.
"""

import ast
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.hostile.command import verdict_of
from benchmarks.hostile.damage import ABSURD, damaged
from benchmarks.hostile.formats import FORMATS

SOURCES = [Path(__file__).parents[1] / name for name in ("featurefields", "cli")]
PEAK_BYTES = 24 << 20
"""Of Python's and numpy's memory while a file of some hundred bytes is read."""
SECONDS = 10.0
FEW = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module", params=list(FORMATS))
def prepared(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path, bytes]]:
    """A reader's name, its folder, and the valid bytes of the file that is damaged."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, form = Path(scratch), FORMATS[request.param]
        form.prepare(folder)
        verdict_of(request.param, folder)  # what is imported on the way is no memory of the file's
        yield request.param, folder, (folder / form.victim).read_bytes()


def check(name: str, folder: Path, content: bytes) -> str:
    """Read with `content` as the file; what came of it, if that is allowed."""
    (folder / FORMATS[name].victim).write_bytes(content)
    before, began = sorted(folder.rglob("*")), time.monotonic()
    tracemalloc.start()
    try:
        verdict, line = verdict_of(name, folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert verdict in ("read", "refused"), line
    assert peak < PEAK_BYTES + 4 * len(content), f"{peak} bytes for a file of {len(content)}"
    assert time.monotonic() - began < SECONDS
    assert sorted(folder.rglob("*")) == before, "reading leaves nothing behind"
    return verdict


def test_what_is_valid_is_read(prepared: tuple[str, Path, bytes]) -> None:
    name, folder, content = prepared
    assert check(name, folder, content) == "read"


@FEW
@given(seed=st.integers(0, 2**32))
def test_damage(prepared: tuple[str, Path, bytes], seed: int) -> None:
    name, folder, content = prepared
    check(name, folder, damaged(content, Random(seed)))


@settings(max_examples=15, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes(prepared: tuple[str, Path, bytes], content: bytes) -> None:
    name, folder, whole = prepared
    check(name, folder, content)
    check(name, folder, whole[: len(content)] + content)


JSON = [name for name, form in FORMATS.items() if form.victim.endswith(".json")]
VALUES = st.recursive(
    st.sampled_from(ABSURD) | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("prepared", JSON, indirect=True)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_value_under_a_known_key(prepared: tuple[str, Path, bytes], data: st.DataObject) -> None:
    import json

    name, folder, content = prepared
    document = json.loads(content)
    document[data.draw(st.sampled_from(sorted(document)))] = data.draw(VALUES)
    check(name, folder, json.dumps(document).encode())


@pytest.mark.parametrize("prepared", JSON, indirect=True)
def test_depth_beyond_reason(prepared: tuple[str, Path, bytes]) -> None:
    name, folder, _ = prepared
    assert check(name, folder, b'{"a":' * 100_000 + b"1" + b"}" * 100_000) == "refused"


@pytest.mark.parametrize("prepared", ["archive", "selection"], indirect=True)
@pytest.mark.parametrize("length", [2**20, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_promises_too_much(prepared: tuple[str, Path, bytes], length: int) -> None:
    name, folder, content = prepared
    assert check(name, folder, length.to_bytes(8, "little") + content[8:]) == "refused"


@pytest.mark.parametrize("prepared", [name for name in FORMATS if name.endswith(".bin")], indirect=True)
@pytest.mark.parametrize("count", [2**20, 2**40, 2**63, 2**64 - 1])
def test_a_table_that_promises_too_much(prepared: tuple[str, Path, bytes], count: int) -> None:
    name, folder, content = prepared
    assert check(name, folder, count.to_bytes(8, "little") + content[8:]) == "refused"


FORBIDDEN_CALLS = {"eval", "exec", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib"}


def test_no_pickle_and_no_eval() -> None:
    """No source of ours evaluates text or unpickles; torch.load only reads weights, numpy.load no objects."""
    for path in (file for source in SOURCES for file in source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not FORBIDDEN_MODULES & {each.name.partition(".")[0] for each in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in FORBIDDEN_MODULES, path
            if isinstance(node, ast.Call):
                refuse_call(node, f"{path}:{node.lineno}")


def refuse_call(node: ast.Call, where: str) -> None:
    called = ast.unparse(node.func)
    told = {word.arg: ast.unparse(word.value) for word in node.keywords}
    assert called not in FORBIDDEN_CALLS, where
    if called == "torch.load":
        assert told.get("weights_only") == "True", where
    if called in ("np.load", "numpy.load"):
        assert told.get("allow_pickle", "False") == "False", where
    assert told.get("shell") != "True", where
