"""Prints a report of package identity. Whoever runs it drops dentries meanwhile."""
import ctypes
import io
import json
import os
import stat
import struct
import subprocess
import tarfile
import time

TOPS = ["/bin", "/etc", "/opt", "/srv", "/usr/bin", "/usr/lib/python3", "/usr/sbin", "/usr/share/perl5", "/var"]


def drops():
    with open("/proc/vmstat") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("drop_slab "))


def wait_for_drops(count=2):
    """Two begin and end after now, so that one of them does as a whole."""
    until, deadline = drops() + count, time.monotonic() + 120
    while drops() < until:
        if time.monotonic() > deadline:
            raise SystemExit("nobody drops dentries")
        time.sleep(0.02)


def mount_points():
    with open("/proc/self/mountinfo") as f:
        return {line.split()[4] for line in f}


MOUNTED = mount_points() - {"/"}


def walk():
    """All paths of the image, and of what is mounted there none."""
    for top in TOPS:
        if os.path.islink(top) or not os.path.isdir(top):
            continue
        yield top
        for at, dirs, files in os.walk(top):
            dirs[:] = [d for d in dirs if os.path.join(at, d) not in MOUNTED]
            for name in dirs + files:
                path = os.path.join(at, name)
                if path not in MOUNTED:
                    yield path


def identity(path):
    st = os.lstat(path)
    return st.st_dev, st.st_ino


def run(*args):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def lasting(seen):
    return sorted(path for path, was in seen.items() if identity(path) != was)


def links(paths):
    groups, twice, kinds = {}, [], {}
    for path in paths:
        st = os.lstat(path)
        key = st.st_dev, st.st_ino
        kind = stat.S_IFMT(st.st_mode), st.st_size, st.st_mtime_ns, st.st_nlink
        if kinds.setdefault(key, kind) != kind:
            twice.append(path)
        elif not stat.S_ISDIR(st.st_mode):
            groups.setdefault(key, (st.st_nlink, []))[1].append(path)
            if st.st_nlink == 1 and len(groups[key][1]) > 1:
                twice.append(path)
    found = {}
    for count, names in groups.values():
        if len(names) > 1:  # BuildKit links a file of one name to where it came from
            found[min(names)] = [str(count)] + sorted(names)
    return found, sorted(twice)


def entries(paths):
    wrong = []
    for path in paths:
        if os.path.islink(path) or not os.path.isdir(path):
            continue
        with os.scandir(path) as found:
            for e in found:
                if e.path not in MOUNTED and e.inode() != os.lstat(e.path).st_ino:
                    wrong.append(e.path)
    return sorted(wrong)


def copied_up():
    """Files and directories of lower layers that are written to."""
    files = ["/etc/passwd", "/usr/lib/os-release", "/etc/profile"]
    dirs = ["/usr/share", "/etc", "/usr/bin"]
    seen = {path: identity(path) for path in files + dirs}
    for path in files:
        with open(path, "a") as f:
            f.write("\n")
    for path in dirs:
        with open(os.path.join(path, "made"), "w") as f:
            f.write("made")
    at_once = lasting(seen)
    wait_for_drops()
    return sorted(set(at_once + lasting(seen)))


def tar():
    archive = "/srv/many.tar"
    with tarfile.open(archive, "w") as t:
        for n in range(3000):
            d = tarfile.TarInfo(f"many/{n % 50}/{n}")
            d.type, d.mode, d.mtime = tarfile.DIRTYPE, 0o755, 1600000000
            t.addfile(d)
            f = tarfile.TarInfo(d.name + "/f")
            f.size = 1
            t.addfile(f, io.BytesIO(b"f"))
    os.mkdir("/opt/new")
    extraction = subprocess.Popen(["tar", "-C", "/opt/new", "-xf", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with open(archive, "rb") as f:
        whole = f.read()
    half = len(whole) // 2
    extraction.stdin.write(whole[:half])
    wait_for_drops()
    _, said = extraction.communicate(whole[half:])
    lines = said.decode().splitlines()
    if extraction.returncode == 0 and not lines:
        return ""
    return f"exit {extraction.returncode}, {len(lines)} lines: {lines[:1]}"


def events():
    """What a watch of a file tells that was set before its copy-up."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = {0x2: "modify", 0x4: "attrib", 0x8: "close_write", 0x800: "move_self", 0x400: "delete_self"}
    fd = libc.inotify_init1(os.O_NONBLOCK)
    if fd < 0 or libc.inotify_add_watch(fd, b"/etc/group", sum(names)) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    os.chmod("/etc/group", 0o600)
    with open("/etc/group", "a") as f:
        f.write("\n")
    wait_for_drops()
    with open("/etc/group", "a") as f:
        f.write("\n")
    os.unlink("/etc/group")
    told, found = os.read(fd, 1 << 16), []
    while told:
        _, mask, _, length = struct.unpack_from("iIII", told)
        found += [name for bit, name in names.items() if mask & bit]
        told = told[16 + length:]
    os.close(fd)
    return found


def maps_agree():
    import mmap
    path = os.path.realpath("/usr/bin/tar")
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        m[:1]
        with open("/proc/self/maps") as maps:
            line = next(line for line in maps if line.rstrip().endswith(path))
        st = os.fstat(f.fileno())
    device, inode = line.split()[3:5]
    major, minor = (int(part, 16) for part in device.split(":"))
    return [os.makedev(major, minor) == st.st_dev, int(inode) == st.st_ino]


def differing(one, other):
    return sorted(set(one.splitlines()) ^ set(other.splitlines()))


def main():
    paths = list(walk())
    seen = {path: identity(path) for path in paths}
    report = {"Devices": len({device for device, _ in seen.values()} | {os.lstat("/").st_dev})}
    wait_for_drops()
    report["Changed"] = lasting(seen)
    report["Links"], report["Twice"] = links(paths)
    report["Entries"] = entries(paths)
    tops = [top for top in TOPS if not any(m.startswith(top + "/") for m in MOUNTED)]
    report["DuXdev"] = differing(run("du", "-sxk", *tops).stdout, run("du", "-sk", *tops).stdout)
    report["FindXdev"] = differing(run("find", "/opt", "/usr/bin", "-xdev").stdout, run("find", "/opt", "/usr/bin").stdout)
    report["Df"] = run("df", "/usr/bin/env").stdout.splitlines()[-1].split()[0]
    report["MapsAgree"] = maps_agree()
    report["CopiedUp"] = copied_up()
    report["Events"] = events()
    report["Tar"] = tar()
    print(json.dumps(report))


main()
