"""What several test files need."""

import pytest

from zoo import checkpoint, embedding
from zoo.__main__ import main
from zoo.errors import InputError
from zoo.run import fit


# Of a made-up record.
ENVIRONMENT = {
    "device": "cpu",
    "processor": "P",
    "cores": 2,
    "commit": "abc",
    "time": "2026-01-01T00:00:00Z",
    "packages": {"jax": "1"},
}


SMALL = "simulated:num_users=120,num_videos=80,num_watches=1500"


def refused(capsys, *arguments):
    """The one line of a command that must end with status 2."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("zoo: "), captured.err
    return lines[0]


def refusal(read, data, **options) -> str:
    """The one line with which `read` refuses data."""
    with pytest.raises(InputError) as error:
        read(data, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def summed_once(lookups, num_rows, slot):
    """The row gradient of a table as a step makes it, the scratch after it, and whether it overflowed."""
    duplicates, slot, overflow = embedding.find_duplicates(lookups, num_rows, slot)
    return embedding.summed_gradient(lookups, duplicates), slot, overflow


def raw_rows(data):
    """Interactions as a list of raw rows, the way that a test writes them."""
    columns = [data.user_ids[data.user], data.item_ids[data.item]]
    columns += [column for column in (data.rating, data.timestamp) if column is not None]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def fit_stopped_at_every_save(make_job, folder, monkeypatch):
    """(record, state, number of saves) of a run that stops at each save in turn and goes on from there."""
    real_save, saves = checkpoint.save, []

    class Stop(Exception):
        pass

    def save_and_stop(*arguments):
        real_save(*arguments)
        saves.append(arguments)
        raise Stop

    monkeypatch.setattr(checkpoint, "save", save_and_stop)
    for _ in range(100):
        try:
            record, _, state = fit(make_job(), folder, quiet=True, resume=True, checkpoint_seconds=0)
        except Stop:
            continue
        return record, state, len(saves)
    pytest.fail("the run made no progress from one save to the next")
