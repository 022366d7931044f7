"""What is installed from npm is what was locked, from wherever npm's registry is."""

import json
from pathlib import Path

HERE = Path(__file__).parent


def test_every_package_of_npm_is_locked_by_its_hash_and_names_no_registry() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    wanted = json.loads((HERE / "package.json").read_text())["devDependencies"]
    for name, version in wanted.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    for name, package in packages.items():
        assert not name or package.get("inBundle") or package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
