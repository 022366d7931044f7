"""The customer database of the demonstration: SQLite, bound parameters only, money in cents."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from garrison.base.clock import Clock, system_clock
from garrison.base.errors import GarrisonError
from garrison.base.files import PRIVATE_FILE

BUSY_SECONDS = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS customers (
  customer_id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  status TEXT NOT NULL,
  account_type TEXT NOT NULL,
  email TEXT NOT NULL,
  phone TEXT NOT NULL,
  last_activity TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tickets (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  customer_id TEXT NOT NULL REFERENCES customers,
  subject TEXT NOT NULL,
  description TEXT NOT NULL,
  priority TEXT NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
  status TEXT NOT NULL DEFAULT 'open',
  created TEXT NOT NULL,
  created_by TEXT NOT NULL
) STRICT;
"""
_SEED = (
    # customer_id, name, status, account_type, days since last activity
    ("ABC123", "Alder & Birch Supplies", "active", "premium", 1),
    ("XYZ789", "Xylem Water Works", "active", "standard", 4),
    ("DEF456", "Delta Ferries", "active", "premium", 2),
    ("GHI012", "Granite Hill Inn", "suspended", "standard", 60),
    ("JKL345", "Juniper Lane Bakery", "active", "basic", 12),
)


class UnknownCustomerError(GarrisonError):
    """Nobody has that customer id; the message may be shown to the caller."""


@dataclass(frozen=True)
class Customer:
    customer_id: str
    name: str
    status: str
    account_type: str
    email: str
    phone: str
    last_activity: str


@dataclass(frozen=True)
class Ticket:
    """`created` is an ISO 8601 time in UTC, `created_by` the subject of the caller's token."""

    ticket_id: str
    customer_id: str
    subject: str
    description: str
    priority: str
    status: str
    created: str
    created_by: str


class CustomerDatabase:
    """Customers and their tickets in one SQLite file; each call opens it, so any thread may call.

    Made with its schema, and with five customers if it has none.
    """

    def __init__(self, path: Path, clock: Clock = system_clock) -> None:
        self._path = path
        self._clock = clock
        path.touch(mode=PRIVATE_FILE)
        with self._connected() as connection:
            connection.executescript(_SCHEMA)
            if connection.execute("SELECT count(*) FROM customers").fetchone()[0] == 0:
                connection.executemany("INSERT OR IGNORE INTO customers VALUES (?,?,?,?,?,?,?)", self._seed())

    def customer(self, customer_id: str) -> Customer:
        """Raises `UnknownCustomerError`."""
        with self._connected() as connection:
            row = connection.execute(
                "SELECT customer_id, name, status, account_type, email, phone, last_activity"
                " FROM customers WHERE customer_id = ?",
                (customer_id,),
            ).fetchone()
        if row is None:
            raise UnknownCustomerError(f"there is no customer {customer_id}")
        return Customer(*row)

    def open_ticket(self, customer_id: str, subject: str, description: str, priority: str, created_by: str) -> Ticket:
        """Store a ticket, durable on return. Raises `UnknownCustomerError`."""
        self.customer(customer_id)
        created = self._now().isoformat()
        with self._connected() as connection:
            number = connection.execute(
                "INSERT INTO tickets (customer_id, subject, description, priority, created, created_by)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (customer_id, subject, description, priority, created, created_by),
            ).lastrowid
        return Ticket(_ticket_id(number), customer_id, subject, description, priority, "open", created, created_by)

    def open_tickets(self, customer_id: str) -> list[Ticket]:
        """The customer's open tickets, oldest first."""
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT number, customer_id, subject, description, priority, status, created, created_by"
                " FROM tickets WHERE customer_id = ? AND status = 'open' ORDER BY number",
                (customer_id,),
            ).fetchall()
        return [Ticket(_ticket_id(number), *rest) for number, *rest in rows]

    def answers(self) -> bool:
        """Whether the database can be read."""
        try:
            with self._connected() as connection:
                return bool(connection.execute("SELECT count(*) FROM customers").fetchone()[0])
        except sqlite3.Error:
            return False

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).replace(microsecond=0)

    def _seed(self) -> Iterator[tuple[str, ...]]:
        for index, (customer_id, name, status, account_type, days) in enumerate(_SEED):
            seen = (self._now() - timedelta(days=days)).isoformat()
            email, phone = f"{customer_id.lower()}@example.com", f"+1-555-01{index:02}"
            yield customer_id, name, status, account_type, email, phone, seen

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection whose transaction is committed at the end of the block, or rolled back."""
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            with connection:
                yield connection
        finally:
            connection.close()


def _ticket_id(number: int | None) -> str:
    return f"TICKET-{number:06}"
