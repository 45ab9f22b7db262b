"""Writes the queries of the service levels: `python -m infra.slo`."""

import argparse
import sys
from pathlib import Path

from infra.slo import query_files, read_levels

_INFRA = Path(__file__).resolve().parent.parent


def main() -> None:
    argparse.ArgumentParser(prog="python -m infra.slo", description=__doc__).parse_args()
    files = query_files(read_levels(), _INFRA)
    for folder in {path.parent for path in files}:
        for path in folder.glob("slo-*.kql"):
            path.unlink()
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(_INFRA.parent)}\n")


if __name__ == "__main__":
    main()
