"""The test event: one signed request to this destination alone."""

from standardwebhooks import Webhook

from tests.receiver import Receiver
from tests.world import World


async def test_it_reaches_only_this_destination_whatever_types_it_wants(world: World) -> None:
    async with Receiver() as receiver:
        made = await world.make_destination(f"{receiver.url}/a", event_types=["never.sent"])
        await world.make_destination(f"{receiver.url}/b")
        path = f"/integrations/destinations/{made['id']}/test"
        async with world.worker():
            sent = await world.as_("acme_admin").post(path)
            delivery_id = sent.json()["delivery_id"]
            await world.until(lambda: world.deliveries(state="delivered"))

        (request,) = receiver.requests

    headers = {name.lower(): value for name, value in request.headers}
    body = Webhook(made["signing_secret"]).verify(request.body, headers)
    assert sent.status_code == 202
    assert ("/hook/a", "oneprotect.test") == (request.path, body["type"])
    assert ["id", "type", "timestamp", "tenant", "data"] == list(body)
    (attempt,) = (await world.delivery(delivery_id))["attempts"]
    assert ("test", "delivered") == (attempt["trigger"], attempt["outcome"])


async def test_a_disabled_destination_gets_none(world: World) -> None:
    made = await world.make_destination("https://93.184.216.34/hook")
    base = f"/integrations/destinations/{made['id']}"
    await world.as_("acme_admin").post(f"{base}/disable")

    answer = await world.as_("acme_admin").post(f"{base}/test")

    assert (409, "Conflict") == (answer.status_code, answer.json()["title"])
    assert [] == await world.deliveries()
