"""Let a shell complete the commands and their options."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
#: Where each shell wants to be told.
PLACES = {
    "bash": "echo 'eval \"$(oneprotect completion bash)\"' >> ~/.bashrc",
    "zsh": "echo 'eval \"$(oneprotect completion zsh)\"' >> ~/.zshrc",
    "fish": "oneprotect completion fish > ~/.config/fish/completions/oneprotect.fish",
}


@click.command(epilog="\b\n" + "\n".join(PLACES.values()))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete oneprotect."""
    maker = get_completion_class(shell)
    if maker is None:  # a Choice of the three that click knows
        raise click.ClickException(f"{shell} is not supported")
    root = ctx.find_root()
    click.echo(maker(root.command, {}, "oneprotect", "_ONEPROTECT_COMPLETE").source())


COMMANDS: tuple[click.Command, ...] = (completion,)
