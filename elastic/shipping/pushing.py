"""An exported subnet's folder, published on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from elastic.errors import ExportError, first_line
from elastic.supernet.subnet_folder import read_subnet_config
from elastic.support.files import refuse_links, sha256


def push(folder: str | Path, repo: str, private: bool = False) -> str:
    """Upload an exported subnet: all of its folder but hidden files.

    Args:
        folder: what `elastic.export` wrote; its files must be as they were written.
        repo: `OWNER/NAME`; made where there is none.
        private: make it visible to its owner only; one that is there stays as it is.

    Returns:
        The address of the model's page.

    Raises:
        ExportError: not such a name, no token, no network, or the hub refuses.
        CheckpointError: a folder without an exported subnet, or with a link in it.
    """
    from huggingface_hub import HfApi  # takes a while to import

    folder = Path(folder)
    _check_files(folder)
    check_repo(repo)
    api = HfApi()
    try:
        page = api.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message="Exported by elastic",
            ignore_patterns=[".*", "*/.*", "__pycache__/*"],
        )
    except _failures() as error:
        raise ExportError(
            f"{folder} couldn't be pushed to {repo}: {first_line(error)}; the folder is whole. Check the network, "
            "and that your token may write there (hf auth whoami), and push again"
        ) from error
    return str(page)


def check_repo(repo: str) -> None:
    """Check that `repo` is a name, and that there is a token to write to it with.

    Raises:
        ExportError: it isn't, or there is none.
    """
    from huggingface_hub import get_token  # as above

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ExportError(f"{repo!r} is no repository's name; write it as OWNER/NAME")
    if get_token() is None:
        raise ExportError(
            "the hub needs a token that may write; get one at https://huggingface.co/settings/tokens, and run "
            "hf auth login, or set HF_TOKEN"
        )


def _failures() -> tuple[type[Exception], ...]:
    """Exceptions of the hub's client; without a network they come from its HTTP library, which differs by version."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, ValueError, *HfHubHTTPError.__bases__)


def _check_files(folder: Path) -> None:
    refuse_links(folder)
    for file, facts in read_subnet_config(folder)["files"].items():
        path = folder / file
        if not path.exists() or facts.get("sha256") not in (None, sha256(path)):
            raise ExportError(f"{path} isn't the file that was exported (missing, or another SHA-256); export it again")
