"""Writes the first migration anew from tables.py: `python -m tests.authserver.first_migration` in the checkout.

For as long as no version is released: then the first migration is frozen, and changes get migrations of their own.
"""

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.runtime.migration import MigrationContext

from garrison.authserver.stores import migrations
from garrison.authserver.stores.tables import METADATA

FILE = Path(migrations.__file__).parent / "versions" / "first.py"

HEADING = '''"""The tables of the first version."""

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
'''


def text() -> str:
    with sa.create_engine("sqlite://").connect() as connection:
        steps = produce_migrations(MigrationContext.configure(connection), METADATA).upgrade_ops
    assert steps is not None
    lines = [line for line in render_python_code(steps).splitlines() if not line.strip().startswith("#")]
    return HEADING + "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
    ruff = Path(sys.executable).parent / "ruff"
    subprocess.run([ruff, "format", "--quiet", FILE], check=True)
    print(f"wrote {FILE}")
