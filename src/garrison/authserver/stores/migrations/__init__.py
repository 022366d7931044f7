"""The versions of the database's tables: what is older than `HEAD` is brought up to it when the store is opened.

versions/ holds a step each, run by Alembic on the connection that it is given. A step is `upgrade(op)`, with Alembic's
operations as its argument rather than as a global, which two stores in one process would share.
"""

from pathlib import Path

import sqlalchemy as sa

from garrison.base.errors import GarrisonError

HEAD = "0001"
"""The version that this code works with; stated, so that a database that has it needs no Alembic to say so."""
VERSION_TABLE = "alembic_version"


def version(connection: sa.Connection) -> str | None:
    """The version of the database; None for one without any tables of ours.

    Raises:
        GarrisonError: it has tables of ours, and no version.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        found: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
        return found
    if "clients" in tables:
        raise GarrisonError(
            "the authorization server's database was made before its versions were counted",
            "Remove it (auth.db in the state folder), client.json and user.json, and run garrison init.",
        )
    return None


def upgrade(connection: sa.Connection) -> str | None:
    """Bring the database to `HEAD`, in the transaction of `connection`. Returns the version that it had.

    Raises:
        GarrisonError: the database is newer than this code.
    """
    before = version(connection)
    if before == HEAD:
        return before
    # Most commands find nothing to do, and Alembic costs them a tenth of a second.
    from alembic.operations import Operations  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory(str(Path(__file__).parent))
    if before is not None and before not in {script.revision for script in scripts.walk_revisions()}:
        raise GarrisonError(
            f"the authorization server's database has version {before}, which is newer than this garrison ({HEAD})",
            "Install the garrison that made it, or a newer one; a database is never brought back.",
        )
    steps = {"fn": lambda current, _context: scripts._upgrade_revs("head", current)}  # noqa: SLF001 - as its env.py does
    context = MigrationContext.configure(connection, opts=steps)
    context.run_migrations(op=Operations(context))
    return before
