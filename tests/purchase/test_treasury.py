"""What the accounts of the product hold, as operators see it; read at the networks, not from our books."""
from decimal import Decimal

import requests
from conftest import OPERATOR, TOKEN, until


def asked(world, token):
    return requests.get(world.api + "/treasury", headers={"Authorization": f"Bearer {token}"}, timeout=20)


def treasury(world):
    answer = asked(world, OPERATOR)
    assert answer.status_code == 200, answer.text
    return answer.json()


def holdings(world):
    return {held["holding"]: held for held in treasury(world)["holdings"]}


def test_every_account_is_read_at_its_network(world):
    held = holdings(world)
    assert set(held) == {"treasury/USDC", "treasury/TFT", "treasury/XLM", "bridge/TFT", "activator/TFT"}
    assert all(one["problem"] is None for one in held.values()), held
    account = world.stand_in("GRIDWAY_HORIZON_URL", "GET", f"/accounts/{held['treasury/USDC']['account']}").json()
    lines = {line.get("asset_code", "XLM"): Decimal(line["balance"]) for line in account["balances"]}
    assert Decimal(held["treasury/USDC"]["balance"]) == lines["USDC"]
    assert Decimal(held["treasury/TFT"]["balance"]) == lines["TFT"]
    assert Decimal(held["activator/TFT"]["balance"]) > 0


def test_every_lane_is_read(world):
    def read():
        lanes = {hand["hand"]: hand for hand in treasury(world)["lanes"]}
        return lanes if set(lanes) == {"swaps", "handoffs", "returns", "claims"} else None

    for hand in until("all lanes are known", read).values():
        assert hand["lanes"] > 0 and hand["unreadable"] == 0 and hand["low"] == [], hand
        assert Decimal(hand["lowest"]) > Decimal(hand["threshold"]), hand


def test_a_balance_below_its_threshold_rings_once(world):
    # The fixture wants more USDC of the treasury than there ever is.
    def ringing():
        held = holdings(world)["treasury/USDC"]
        return held if held["alarm"] and held["alarm"]["ringing"] else None

    held = until("the alarm", ringing)
    assert held["low"] and held["alarm"]["crossings"] == 1
    assert holdings(world)["treasury/XLM"]["alarm"] is None


def test_nobody_else_sees_it(world):
    answer = requests.get(world.api + "/treasury", timeout=20)
    assert answer.status_code == 401, answer.text
    assert asked(world, TOKEN).status_code == 403
