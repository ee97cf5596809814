"""The arrows of the house (DESIGN §3), and that importing anything has no effect."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

IMPORT_ALL = """
import importlib, logging, pkgutil, sys
effects = []
quiet = {"socket.gethostname"}
def watch(event, args):
    if event.startswith(("socket.", "subprocess.", "os.system", "sqlite3.connect")) and event not in quiet:
        effects.append(event)
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if writes and "__pycache__" not in str(args[0]):
        effects.append(f"open {args[0]} {args[1]}")
# Libraries probe the machine when they are imported; that is theirs. Ours come after.
import alembic, apscheduler.schedulers.asyncio, fastapi, holidays, jinja2, msgspec, rich.live, sqlalchemy, structlog
import uvicorn, yaml, aiokafka, prometheus_client, psycopg, faust.transport.drivers.aiokafka
handlers = list(logging.root.handlers)
sys.addaudithook(watch)
import schemas, services
names = [name for package in (services, schemas)
         for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in names:
    if ".migrations" not in name:  # Alembic's environment is a script that Alembic runs
        importlib.import_module(name)
assert not effects, effects
assert logging.root.handlers == handlers
print(len(names))
"""


def test_importing_any_module_has_no_effect() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_imports_follow_the_arrows() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_the_two_packages_and_their_data(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"services", "schemas"}
    for data in (
        "services/followup/protocols/transitional-care.yaml",
        "services/followup/web/templates/worklist.html",
        "schemas/adt_event.v1.schema.json",
    ):
        assert data in names
