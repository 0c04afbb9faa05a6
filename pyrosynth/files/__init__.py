"""Where results are written: nothing is lost that pyrosynth did not write, nothing is half there.

Every command that writes uses one of three ways:

- A **file** goes through `atomic` (or `write_bytes`): it is replaced only once the new one is
  whole. A file that people edit, such as one of tags, is never replaced.
- A **folder written at once**, such as a static site, goes through `whole`: it replaces a folder
  of its own kind, in which every file is still as it was written, and nothing else. What
  operating systems leave in folders, such as ``.DS_Store``, does not count, and goes with it.
- A **folder filled file by file**, such as a run or a check, is opened by `claim`: it must be new,
  empty, or claimed before. It is locked until the block ends, and `require_same` compares the
  settings of this call with those of the first::

      with claim(out, "check") as folder:
          require_same(folder, {"seed": seed, "draws": draws})
          write_bytes(folder / "table.csv", table)

A folder that is added to later, as a run is by `pyrosynth name`, is kept from others meanwhile by
`only_writer`.

No option lifts these rules: ``--force`` replaces what pyrosynth wrote, and only that. What a
killed process left half-written is removed by the next call that writes the same file or folder.
A name that comes from outside becomes a file name by `safe_name`.

What is read may be anything: `given_path` and `checked_path` say which paths are none and where
``~`` leads, `read_limited` and `read_json` read no more than a file of its kind may hold.
"""

from pyrosynth.files.folders import (
    MARK,
    claim,
    difference,
    missing_files,
    only_writer,
    require_kind,
    require_maker,
    require_ours,
    require_same,
    whole,
)
from pyrosynth.files.reading import (
    OF_SYSTEM,
    URL,
    checked_path,
    data_home,
    expanded,
    files_below,
    given_path,
    is_there,
    read_json,
    read_limited,
    regular_file,
    resolved,
    unrepeated_keys,
    with_home,
)
from pyrosynth.files.writing import (
    LONGEST_NAME,
    atomic,
    safe_name,
    typed,
    writable,
    write_bytes,
)

__all__ = [
    "LONGEST_NAME",
    "MARK",
    "OF_SYSTEM",
    "URL",
    "atomic",
    "checked_path",
    "claim",
    "difference",
    "data_home",
    "expanded",
    "files_below",
    "given_path",
    "is_there",
    "missing_files",
    "only_writer",
    "read_json",
    "read_limited",
    "regular_file",
    "require_kind",
    "require_maker",
    "require_ours",
    "require_same",
    "resolved",
    "safe_name",
    "typed",
    "unrepeated_keys",
    "whole",
    "with_home",
    "writable",
    "write_bytes",
]
