"""The customer database: real SQLite, nothing invented, tickets that stay."""

import threading
from pathlib import Path

import pytest

from garrison.demo.customers import CustomerDatabase, UnknownCustomerError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "customers.db"


@pytest.mark.parametrize("customer_id", ["ABC123", "XYZ789", "DEF456"])
def test_the_three_customers_of_the_questions_exist(path: Path, customer_id: str) -> None:
    assert CustomerDatabase(path).customer(customer_id).customer_id == customer_id


def test_an_unknown_customer_is_an_error(path: Path) -> None:
    database = CustomerDatabase(path)
    with pytest.raises(UnknownCustomerError, match="NOBODY1"):
        database.customer("NOBODY1")
    with pytest.raises(UnknownCustomerError):
        database.open_ticket("NOBODY1", "s", "d", "low", "somebody")


def test_a_ticket_is_read_back_by_another_database_object(path: Path) -> None:
    ticket = CustomerDatabase(path).open_ticket("ABC123", "It's broken; DROP TABLE tickets", "d", "high", "robot")
    assert CustomerDatabase(path).open_tickets("ABC123") == [ticket]
    assert CustomerDatabase(path).open_tickets("XYZ789") == []


def test_opening_again_does_not_seed_again(path: Path) -> None:
    first = CustomerDatabase(path, clock=lambda: 1_000_000.0).customer("ABC123")
    assert CustomerDatabase(path, clock=lambda: 2_000_000.0).customer("ABC123") == first


def test_ticket_ids_differ_under_concurrency(path: Path) -> None:
    database, ids = CustomerDatabase(path), list[str]()

    def work() -> None:
        ids.extend(database.open_ticket("ABC123", "s", "d", "low", "robot").ticket_id for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 80


def test_the_file_is_its_owners_alone(path: Path) -> None:
    CustomerDatabase(path)
    assert path.stat().st_mode & 0o777 == 0o600
