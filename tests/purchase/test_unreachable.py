"""What a process says when something it needs is not there."""
import os
import pathlib
import subprocess

import pytest

BIN = pathlib.Path(os.environ["GRIDWAY_BIN"])
NOWHERE = "127.0.0.1:9"


def says(arguments, words, **settings):
    """Runs gridway until its stderr holds `words`, for at most a minute."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GRIDWAY_")}
    process = subprocess.Popen([BIN / "gridway", *arguments], env={**environment, **settings}, text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watchdog = subprocess.Popen(["sh", "-c", f"sleep 60; kill {process.pid}"], start_new_session=True)
    try:
        seen = []
        for line in process.stderr:
            seen.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} was not said:\n{''.join(seen)}")
    finally:
        process.kill()
        process.wait()
        os.killpg(watchdog.pid, 9)
        watchdog.wait()


def test_a_missing_setting_is_named():
    line = says(["serve", "processor", "purchases"], "GRIDWAY_KAFKA_BROKERS is not set")
    assert "host:port" in line, "what it should be is said, too"


def test_an_unknown_processor_is_told_the_names(world):
    says(["serve", "processor", "nonsense"], "there are purchases, payments", **world.env)


@pytest.mark.parametrize("setting, value, words", [
    ("GRIDWAY_KAFKA_BROKERS", NOWHERE, f"Kafka at {NOWHERE} is not reachable"),
    ("GRIDWAY_REGISTRY_URL", f"http://{NOWHERE}", f"schema registry at http://{NOWHERE} is not available"),
])
def test_a_service_that_is_not_there_is_named(world, setting, value, words):
    says(["serve", "processor", "purchases", "--slot", "9"], words, **{**world.env, setting: value})


def test_a_database_that_is_not_there_is_named(world):
    environment = {**world.env, "GRIDWAY_DATABASE_URL": f"postgres://gridway@{NOWHERE}/gridway"}
    says(["serve", "projections"], "part=postgres", **environment)


def test_an_empty_webhook_secret_is_refused(world):
    environment = {**world.env, "GRIDWAY_STRIPE_WEBHOOK_SECRETS": ","}
    says(["serve", "api"], "GRIDWAY_STRIPE_WEBHOOK_SECRETS", **environment)
