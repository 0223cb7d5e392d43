"""On which disk a folder lies, and what may not lie on a shared one."""

from pathlib import Path

import pytest

from pipeline.daemon.instance import refuse_shared
from pipeline.errors import StateError
from pipeline.system.mounts import find_mount

TABLE = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /mnt/share rw - nfs4 server:/share rw
31 22 0:51 / /mnt/with\040blank rw shared:2 master:1 - fuse.sshfs me@there: rw
32 22 0:52 / /mnt/share/local rw - ext4 /dev/sdb1 rw
33 22 0:53 / /container rw - overlay overlay rw
34 22 0:54 / /twice rw - ext4 /dev/sdc1 rw
35 34 0:55 / /twice rw - virtiofs shared rw
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    ("path", "kind", "reports", "shared"),
    [
        ("/home/a", "ext4", True, False),
        ("/mnt/share/inbox", "nfs4", False, True),
        ("/mnt/shared-not", "ext4", True, False),
        ("/mnt/share/local/x", "ext4", True, False),
        ("/mnt/with blank/x", "fuse.sshfs", False, True),
        ("/container/x", "overlay", False, False),
        ("/twice/x", "virtiofs", False, True),
    ],
)
def test_the_disk_under_a_folder_is_known_by_the_innermost_mount(
    table, path, kind, reports, shared
):
    mount = find_mount(Path(path), table)
    assert (mount.kind, mount.reports_changes, mount.shared) == (kind, reports, shared)


def test_a_state_folder_on_a_share_is_refused_with_the_way_out(table):
    with pytest.raises(StateError, match=r"nfs4 at /mnt/share.*local disk"):
        refuse_shared(Path("/mnt/share/state"), table)
    refuse_shared(Path("/home/state"), table)
    refuse_shared(Path("/container/state"), table)
