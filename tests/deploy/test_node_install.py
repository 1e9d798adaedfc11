#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/node-install on root directories that look like nodes, as any user; with containerd itself where it is."""
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import tomllib
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = TOP / "deploy" / "node-install"
HANDLERS = ["caisson", "caisson-qemu", "caisson-builtin", "caisson-clh", "caisson-fc", "caisson-stratovirt"]
V2 = 'io.containerd.grpc.v1.cri'
V3 = 'io.containerd.cri.v1.runtime'

# As `containerd config default` begins, with what administrators add.
CONFIG_V2 = """version = 2
root = "/var/lib/containerd"   # a comment

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.6"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"

[debug]
  level = "info"
"""
CONFIG_V3 = """version = 3
disabled_plugins = []
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
"""


class Node:
    """A root directory, and the files that Caisson brings."""

    def __init__(self, where):
        self.root = pathlib.Path(where) / "node"
        self.payload = pathlib.Path(where) / "payload"
        for d in ("etc", "usr/bin", "var/lib", "run"):
            (self.root / d).mkdir(parents=True)
        self.put("usr/bin/containerd", "#!/bin/false\n", mode=0o755)
        for name, text in {"usr/bin/caisson": "caisson 1", "usr/bin/containerd-shim-caisson-v2": "shim 1",
                           "usr/libexec/caisson/caisson-unpack": "unpack 1"}.items():
            self.put(name, text, mode=0o755, top=self.payload)
        for name in ("qemu", "builtin", "clh", "firecracker", "stratovirt"):
            self.put(f"usr/share/defaults/caisson/configuration-{name}.toml", f"# {name}\n", top=self.payload)

    def put(self, name, text, mode=0o644, top=None):
        path = (top or self.root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def read(self, name):
        return (self.root / name).read_text()

    def run(self, action, *options, payload=True, status=0, env=None):
        options = list(options) + (["--from", str(self.payload)] if payload and action == "install" else [])
        done = subprocess.run([SCRIPT, "--root", self.root, *options, action], capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], **(env or {})})
        assert done.returncode == status, f"{action}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def tree(self):
        """Every path with its kind, mode and content."""
        got = {}
        for path in sorted(self.root.rglob("*")):
            what = os.readlink(path) if path.is_symlink() else "dir" if path.is_dir() else \
                hashlib.sha256(path.read_bytes()).hexdigest()
            got[str(path.relative_to(self.root))] = (oct(path.lstat().st_mode), what)
        return got

    def runtimes(self, plugin=V2):
        return tomllib.loads(self.read("etc/containerd/config.toml"))["plugins"][plugin]["containerd"]["runtimes"]


class NodeInstall(unittest.TestCase):
    def setUp(self):
        where = tempfile.TemporaryDirectory(prefix="caisson-node-")
        self.addCleanup(where.cleanup)
        self.node = Node(where.name)

    def config(self, text, name="etc/containerd/config.toml"):
        return self.node.put(name, text)

    def check_undone(self, before):
        self.node.run("uninstall")
        self.assertEqual(self.node.tree(), before)

    def test_version_2(self):
        self.config(CONFIG_V2)
        before = self.node.tree()
        out = self.node.run("install")
        self.assertIn("containerd must be restarted", out)
        runtimes = self.node.runtimes()
        self.assertEqual(sorted(runtimes), sorted(HANDLERS + ["runc"]))
        self.assertEqual(runtimes["caisson-fc"], {
            "runtime_type": "io.containerd.caisson.v2",
            "pod_annotations": ["io.katacontainers.*"],
            "options": {"ConfigPath": "/etc/caisson/configuration-firecracker.toml"}})
        self.assertNotIn("options", runtimes["caisson"])
        self.assertEqual(self.node.read("etc/caisson/configuration-qemu.toml"), "# qemu\n")
        self.assertEqual(self.node.read("usr/bin/caisson"), "caisson 1")
        self.assertTrue(os.access(self.node.root / "usr/bin/caisson", os.X_OK))
        self.assertTrue(self.node.read("etc/containerd/config.toml").startswith(CONFIG_V2))
        self.check_undone(before)

    def test_versions_3_and_4(self):
        for version in (3, 4):
            self.config(CONFIG_V3.replace("version = 3", f"version = {version}"))
            before = self.node.tree()
            self.node.run("install")
            self.assertEqual(sorted(self.node.runtimes(V3)), sorted(HANDLERS + ["runc"]))
            self.check_undone(before)

    def test_no_configuration(self):
        before = self.node.tree()
        self.node.run("install")
        self.assertEqual(tomllib.loads(self.node.read("etc/containerd/config.toml"))["version"], 2)
        self.assertEqual(sorted(self.node.runtimes()), sorted(HANDLERS))
        self.check_undone(before)

    def test_comments_only(self):
        self.config("# nothing here\n\n")
        before = self.node.tree()
        self.node.run("install")
        self.assertEqual(sorted(self.node.runtimes()), sorted(HANDLERS))
        self.check_undone(before)

    def test_no_newline_at_the_end(self):
        self.config(CONFIG_V2.rstrip("\n"))
        before = self.node.tree()
        self.node.run("install")
        self.assertIn("caisson", self.node.runtimes())
        self.check_undone(before)

    def test_again_changes_nothing(self):
        self.config(CONFIG_V2)
        self.node.put("etc/crio/crio.conf", "")
        before = self.node.tree()
        self.node.run("install")
        after = self.node.tree()
        out = self.node.run("install", "--restart-with", "false")  # it would fail if anything were restarted
        self.assertEqual(out, "node-install: done\n")
        self.assertEqual(self.node.tree(), after)
        self.check_undone(before)
        self.assertIn("nothing is installed", self.node.run("uninstall"))

    def test_restart(self):
        self.config(CONFIG_V2)
        told = self.node.root / "run" / "told"
        out = self.node.run("install", "--restart-with", f'echo "$ENGINE" >>{told}')
        self.assertIn("restarted containerd", out)
        self.assertEqual(told.read_text(), "containerd\n")
        self.node.run("uninstall", "--restart-with", f'echo "$ENGINE" >>{told}')
        self.assertEqual(told.read_text(), "containerd\ncontainerd\n")
        self.assertIn("could not be restarted", self.node.run("install", "--restart-with", "false", status=1))

    def test_restart_by_systemd(self):
        """An engine that is there and does not run is not started."""
        self.config(CONFIG_V2)
        systemctl = self.node.put("bin/systemctl", '#!/bin/sh\necho "$@" >"${0%/*}/told"\n', mode=0o755).parent
        self.node.run("install", "--restart", env={"PATH": f"{systemctl}:{os.environ['PATH']}"})
        self.assertEqual(self.node.read("bin/told"), "try-restart containerd\n")

    def test_restart_that_failed(self):
        """Who runs it again, as Kubernetes does, gets the engine restarted after all."""
        self.config(CONFIG_V2)
        self.node.put("etc/crio/crio.conf", "")
        before = self.node.tree()
        for action in ("install", "uninstall"):
            self.assertIn("could not be restarted", self.node.run(action, "--restart-with", "false", status=1))
            out = self.node.run(action, "--restart-with", "true")
            self.assertIn("restarted containerd", out)
            self.assertIn("restarted crio", out)
            self.assertNotIn("restarted", self.node.run(action, "--restart-with", "true"))
        self.assertEqual(self.node.tree(), before)

    def test_restart_that_failed_of_one_engine(self):
        """The other one is not restarted again each time."""
        self.config(CONFIG_V2)
        self.node.put("etc/crio/crio.conf", "")
        out = self.node.run("install", "--restart-with", '[ "$ENGINE" = containerd ]', status=1)
        self.assertIn("restarted containerd", out)
        self.assertIn("crio could not be restarted", out)
        out = self.node.run("install", "--restart-with", "true")
        self.assertNotIn("containerd", out)
        self.assertIn("restarted crio", out)

    def test_folder_that_crio_left(self):
        self.config(CONFIG_V2)
        (self.node.root / "etc/crio/policies").mkdir(parents=True)
        self.assertNotIn("crio", self.node.run("install"))

    def test_fragment_that_was_removed(self):
        self.node.put("etc/crio/crio.conf", "")
        self.node.run("install")
        (self.node.root / "etc/crio/crio.conf.d/50-caisson.conf").unlink()
        self.assertIn("crio must be restarted", self.node.run("install"))

    def test_fewer_handlers(self):
        self.config(CONFIG_V2)
        self.node.run("install")
        self.node.run("install", "--handlers", "caisson caisson-qemu")
        self.assertEqual(sorted(self.node.runtimes()), ["caisson", "caisson-qemu", "runc"])
        self.assertIn('no handler "kata"', self.node.run("install", "--handlers", "kata", status=1))

    def test_upgrade(self):
        """Files that a version has no more go; what was there before Caisson comes back in the end."""
        self.config(CONFIG_V2)
        self.node.put("usr/bin/caisson", "somebody else's", mode=0o755)
        before = self.node.tree()
        self.node.run("install")
        self.node.put("usr/bin/caisson", "caisson 2", mode=0o755, top=self.node.payload)
        (self.node.payload / "usr/libexec/caisson/caisson-unpack").unlink()
        self.node.put("usr/bin/new", "new", top=self.node.payload)
        self.node.run("install")
        self.assertEqual(self.node.read("usr/bin/caisson"), "caisson 2")
        self.assertFalse((self.node.root / "usr/libexec/caisson/caisson-unpack").exists())
        self.check_undone(before)

    def test_edits_survive(self):
        """What an administrator changes after the installation is not lost, whatever comes then."""
        path = self.config(CONFIG_V2)
        self.node.run("install")
        mine = self.node.put("etc/caisson/configuration-qemu.toml", "# mine\n")
        path.write_text(path.read_text() + '[metrics]\n  address = "127.0.0.1:1338"\n')
        self.assertIn("kept /etc/caisson/configuration-qemu.toml", self.node.run("install"))
        self.assertEqual(mine.read_text(), "# mine\n")
        parsed = tomllib.loads(path.read_text())
        self.assertIn("caisson", parsed["plugins"][V2]["containerd"]["runtimes"])
        self.assertEqual(parsed["metrics"]["address"], "127.0.0.1:1338")
        path.write_text(path.read_text().replace("info", "debug"))
        self.assertIn("changed: /etc/caisson/configuration-qemu.toml", self.node.run("status"))
        out = self.node.run("uninstall")
        self.assertIn("left /etc/caisson/configuration-qemu.toml", out)
        parsed = tomllib.loads(path.read_text())
        self.assertEqual(sorted(parsed["plugins"][V2]["containerd"]["runtimes"]), ["runc"])
        self.assertEqual(parsed["metrics"]["address"], "127.0.0.1:1338")
        self.assertEqual(parsed["debug"]["level"], "debug")
        self.assertNotIn("caisson", path.read_text().lower())

    def test_edit_then_install_then_uninstall(self):
        path = self.config(CONFIG_V2)
        self.node.run("install")
        path.write_text(path.read_text().replace("info", "debug"))
        self.node.run("install")
        self.node.run("uninstall")
        self.assertEqual(path.read_text(), CONFIG_V2.replace("info", "debug"))

    def test_own_configuration(self):
        """One that is there before is used, and stays."""
        self.config(CONFIG_V2)
        self.node.put("etc/caisson/configuration.toml", "# all pods\n")
        self.node.put("etc/caisson/configuration-clh.toml", "# my own\n")
        before = self.node.tree()
        self.node.run("install")
        self.assertEqual(self.node.read("etc/caisson/configuration-clh.toml"), "# my own\n")
        self.assertEqual(self.node.runtimes()["caisson"]["options"]["ConfigPath"], "/etc/caisson/configuration.toml")
        self.check_undone(before)

    def test_crio(self):
        (self.node.root / "usr/bin/containerd").unlink()
        self.node.put("etc/crio/crio.conf", "[crio]\n")
        before = self.node.tree()
        out = self.node.run("install")
        self.assertIn("crio must be restarted", out)
        got = tomllib.loads(self.node.read("etc/crio/crio.conf.d/50-caisson.conf"))["crio"]["runtime"]["runtimes"]
        self.assertEqual(sorted(got), sorted(HANDLERS))
        self.assertEqual(got["caisson-builtin"]["runtime_type"], "vm")
        self.assertEqual(got["caisson-builtin"]["runtime_path"], "/usr/bin/containerd-shim-caisson-v2")
        self.assertFalse((self.node.root / "etc/containerd").exists())
        # what CRI-O leaves there when all pods have gone is no pod
        (self.node.root / got["caisson"]["runtime_root"].lstrip("/") / "crio/fifo/io").mkdir(parents=True)
        self.check_undone(before)

    def test_refuses(self):
        """Each of these is left exactly as it is."""
        v2 = "version = 2\n"
        table = f'[plugins."{V2}".containerd.runtimes.caisson]\n'
        for text, why in {
                'root = "/x"\n': "version 1",
                "version = 5\n": "version 5 is not known",
                'disabled_plugins = ["cri"]\n' + v2: "disabled",
                'disabled_plugins = [\n  "aufs",\n  "io.containerd.grpc.v1.cri" ]\n' + v2: "disabled",
                v2 + table: "not of node-install",
                v2 + f"[plugins.'{V2}'.containerd.runtimes.'caisson-qemu']\n": "not of node-install",
                v2 + 'plugins."a".b = 1\n': "no tables of their own",
                v2 + f'[plugins]\n"{V2}" = {{ x = 1 }}\n': "no table of its own",
                v2 + f'[plugins."{V2}".containerd]\nruntimes = {{ }}\n': "no tables of their own",
                v2 + f'[plugins."{V2}".containerd]\nruntimes.runc.x = 1\n': "no tables of their own",
                v2 + 'x = """\n': "several lines",
                v2 + "# END caisson\n": "without its begin",
                v2 + "# BEGIN caisson (node-install): what is between these lines is replaced and removed with Caisson\n":
                    "without its end",
        }.items():
            with self.subTest(text=text):
                self.config(text)
                before = self.node.tree()
                self.assertIn(why, self.node.run("install", status=1))
                self.assertEqual(self.node.tree(), before)

    def test_refuses_links(self):
        self.config(CONFIG_V2, "etc/containerd/real.toml")
        (self.node.root / "etc/containerd/config.toml").symlink_to("real.toml")
        before = self.node.tree()
        self.assertIn("symbolic link", self.node.run("install", status=1))
        self.assertEqual(self.node.tree(), before)
        self.node.run("install", "--containerd-config", "/etc/containerd/real.toml")
        self.assertIn("uninstall first", self.node.run("install", "--containerd-config", "/etc/other.toml", status=1))
        self.check_undone(before)

    def test_refuses_payloads(self):
        self.node.put("etc/passwd", "x", top=self.node.payload)
        self.assertIn("only usr and opt", self.node.run("install", status=1))
        shutil.rmtree(self.node.payload)
        self.node.payload.mkdir()
        self.assertIn("no containerd-shim-caisson-v2", self.node.run("install", status=1))
        self.assertIn("not installed on this node", self.node.run("install", payload=False, status=1))
        shutil.rmtree(self.node.root / "usr")
        self.assertIn("neither containerd nor CRI-O", self.node.run("install", status=1))
        self.assertFalse((self.node.root / "var/lib/caisson").exists())

    def test_refuses_before_it_changes_anything(self):
        self.config(CONFIG_V2)
        self.node.put("etc/crio/crio.conf", "")
        for name in ("usr/libexec/caisson/caisson-unpack", "etc/caisson/configuration-stratovirt.toml",
                     "etc/crio/crio.conf.d/50-caisson.conf"):
            with self.subTest(name=name):
                path = self.node.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to("elsewhere")
                before = self.node.tree()
                self.assertIn("is no regular file", self.node.run("install", status=1))
                self.assertEqual(self.node.tree(), before)
                path.unlink()
        before = self.node.tree()
        link = self.node.payload / "usr/libexec/caisson/link"
        link.symlink_to("elsewhere")
        self.assertIn("leads nowhere", self.node.run("install", status=1))
        self.assertEqual(self.node.tree(), before)
        link.unlink()
        (self.node.payload / "usr/share/defaults/caisson/configuration-clh.toml").unlink()
        self.assertIn("no configuration for caisson-clh", self.node.run("install", status=1))
        self.assertEqual(self.node.tree(), before)

    def test_link_in_the_payload(self):
        """It becomes a file like the one it leads to, once."""
        self.config(CONFIG_V2)
        (self.node.payload / "usr/bin/containerd-shim-kata-v2").symlink_to("containerd-shim-caisson-v2")
        before = self.node.tree()
        self.node.run("install")
        tree = self.node.tree()
        self.assertEqual(tree["usr/bin/containerd-shim-kata-v2"], tree["usr/bin/containerd-shim-caisson-v2"])
        self.assertEqual(self.node.run("install"), "node-install: done\n")
        self.check_undone(before)

    @unittest.skipUnless(os.geteuid() == 0, "only root can make files of somebody else")
    def test_files_are_roots(self):
        self.config(CONFIG_V2)
        for path in self.node.payload.rglob("*"):
            os.chown(path, 1000, 1000)
        self.node.run("install")
        for name in ("usr/bin/containerd-shim-caisson-v2", "etc/caisson/configuration-qemu.toml"):
            self.assertEqual((self.node.root / name).stat().st_uid, 0, name)

    def test_installed_by_a_package(self):
        """Without --from only the engines are configured."""
        self.config(CONFIG_V2)
        shutil.copytree(self.node.payload, self.node.root, dirs_exist_ok=True)
        before = self.node.tree()
        self.node.run("install", payload=False)
        self.assertEqual(sorted(self.node.runtimes()), sorted(HANDLERS + ["runc"]))
        self.check_undone(before)

    def test_running_pods(self):
        self.config(CONFIG_V2)
        before = self.node.tree()
        self.node.run("install")
        (self.node.root / "run/caisson/pod1").mkdir(parents=True)
        after = self.node.tree()
        self.assertIn("drain it first", self.node.run("uninstall", status=1))
        self.assertEqual(self.node.tree(), after)
        self.node.run("uninstall", "--force")
        shutil.rmtree(self.node.root / "run/caisson")
        self.assertEqual(self.node.tree(), before)

    def test_usage(self):
        self.assertIn("usage:", self.node.run("frobnicate", status=2))
        self.assertIn("usage:", self.node.run("install", "--root", status=2, payload=False))
        self.assertIn('no engine "docker"', self.node.run("install", "--engine", "docker", status=1))

    def test_containerd_disagrees(self):
        """What containerd itself does not read as meant is not put in its place."""
        self.config(CONFIG_V2)
        liar = self.node.put("run/containerd", "#!/bin/sh\necho 'no such thing'\n", mode=0o755)
        before = self.node.read("etc/containerd/config.toml")
        out = self.node.run("install", status=1, env={"CONTAINERD": str(liar)})
        self.assertIn("it does not see caisson", out)
        self.assertEqual(self.node.read("etc/containerd/config.toml"), before)

    @unittest.skipUnless(shutil.which("containerd"), "containerd is not installed")
    def test_containerd_agrees(self):
        env = {"CONTAINERD": shutil.which("containerd")}
        for text in (CONFIG_V2, None):
            with self.subTest(text=text):
                if text:
                    self.config(text)
                self.node.run("install", env=env)
                self.node.run("uninstall")
                (self.node.root / "etc/containerd/config.toml").unlink(missing_ok=True)


if __name__ == "__main__":
    unittest.main()
