"""Plan an installation that one database server cannot carry."""

import click

from app.cli.listing import as_json, show
from app.cli.patience import patience


@click.command("simulate-shards")
@click.option("--tenants", type=click.IntRange(1, 10_000_000), default=10_000, show_default=True)
@click.option("--shards", type=click.IntRange(1, 1_024), default=8, show_default=True)
@click.option(
    "--skew",
    type=click.FloatRange(0, 3),
    default=1.0,
    show_default=True,
    help="Zipf: 0 is all alike, 1 is usual, 1.5 is a few giants.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed, the same hash."
)
@as_json
def simulate_shards(tenants: int, shards: int, skew: float, seed: int, as_json: bool) -> None:
    """Show how even tenants lie on several database servers.

    Places all of them by the hash of tenant_id; then again with the large ones (more than a
    twentieth of a server's fair part) taken out, and these and the hash's buckets put, the largest
    first, where the least is. 1.0 is the fair part. No placement is more even than the largest
    tenant, which is never split.
    """
    import msgspec

    from app.tools.shards import Balance, simulate

    with patience("Simulating") as tell:
        found = simulate(tenants, shards, skew, seed=seed, tell=tell)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    columns = ("placement", "max_over_mean", "min_over_mean", "isolated")
    show([found.hashed, found.isolated], Balance, as_json=False, columns=columns)
    click.echo(f"  The largest tenant alone makes {found.largest_over_mean} of a fair part.\n")
    for balance in (found.hashed, found.isolated):
        loads = "  ".join(f"{load:.2f}" for load in sorted(balance.loads, reverse=True)[:16])
        more = f"  … {shards - 16} more" if shards > 16 else ""  # noqa: PLR2004  # a line's worth
        click.echo(f"  {balance.placement}:\n    {loads}{more}")


COMMANDS: tuple[click.Command, ...] = (simulate_shards,)
