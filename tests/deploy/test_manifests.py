#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manifests and fragments of deploy/: they say the same as each other and as the scripts."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest

import yaml

from test_node_install import CONFIG_V2, CONFIG_V3, HANDLERS, V2, V3, Node

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
PAGE = DEPLOY.parent / "docs" / "kubernetes.md"


def runtimes_of(text, plugin):
    return tomllib.loads(text)["plugins"][plugin]["containerd"]["runtimes"]


class Fragments(unittest.TestCase):
    """What people paste is what node-install writes."""

    def setUp(self):
        where = tempfile.TemporaryDirectory(prefix="caisson-node-")
        self.addCleanup(where.cleanup)
        self.node = Node(where.name)

    def installed(self, config, plugin):
        self.node.put("etc/containerd/config.toml", config)
        self.node.run("install")
        got = self.node.runtimes(plugin)
        del got["runc"]
        return got

    def test_containerd_2(self):
        text = (DEPLOY / "containerd" / "config-v2.toml").read_text()
        self.assertEqual(runtimes_of(text, V2), self.installed(CONFIG_V2, V2))

    def test_containerd_3(self):
        text = (DEPLOY / "containerd" / "config-v3.toml").read_text()
        self.assertEqual(runtimes_of(text, V3), self.installed(CONFIG_V3, V3))

    def test_crio(self):
        self.node.put("etc/crio/crio.conf", "")
        self.node.run("install")
        self.assertEqual(tomllib.loads((DEPLOY / "crio" / "50-caisson.conf").read_text()),
                         tomllib.loads(self.node.read("etc/crio/crio.conf.d/50-caisson.conf")))

    @unittest.skipUnless(shutil.which("containerd"), "containerd is not installed")
    def test_containerd_reads_it(self):
        out = subprocess.run(["containerd", "--config", DEPLOY / "containerd" / "config-v2.toml", "config", "dump"],
                             capture_output=True, text=True, check=True).stdout
        dumped = runtimes_of(out, V2)
        for h in HANDLERS:
            self.assertEqual(dumped[h]["runtime_type"], "io.containerd.caisson.v2")
        self.assertEqual(dumped["caisson-clh"]["options"], {"ConfigPath": "/etc/caisson/configuration-clh.toml"})


class RuntimeClasses(unittest.TestCase):
    def generate(self, rows):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump(rows, f)
            f.flush()
            out = subprocess.run([DEPLOY / "runtimeclasses", "--measurements", f.name], capture_output=True, text=True,
                                 check=True).stdout
        return {c["metadata"]["name"]: c for c in yaml.safe_load_all(out)}

    def test_not_stale(self):
        subprocess.run([DEPLOY / "runtimeclasses", "--check"], check=True)

    def test_classes(self):
        classes = list(yaml.safe_load_all((DEPLOY / "runtimeclasses.yaml").read_text()))
        self.assertEqual([c["metadata"]["name"] for c in classes], HANDLERS)
        for c in classes:
            self.assertEqual((c["apiVersion"], c["kind"]), ("node.k8s.io/v1", "RuntimeClass"))
            self.assertEqual(c["handler"], c["metadata"]["name"])

    def test_overhead_is_what_was_measured(self):
        row = {"hypervisor": "qemu", "acceleration": "kvm", "vmm_mib": 40.1, "guest_mib": 70, "cpu_millicores": 12.5}
        got = self.generate([row, {**row, "hypervisor": "clh", "vmm_mib": 10, "guest_mib": 120, "cpu_millicores": 0},
                             {**row, "hypervisor": "builtin", "acceleration": "emulated"}])
        # twice 40.1 and the 96 that the VM is made larger, in steps of 16
        self.assertEqual(got["caisson-qemu"]["overhead"], {"podFixed": {"memory": "192Mi", "cpu": "20m"}})
        self.assertEqual(got["caisson-clh"]["overhead"], {"podFixed": {"memory": "144Mi", "cpu": "10m"}})
        self.assertEqual(got["caisson"]["overhead"], {"podFixed": {"memory": "192Mi", "cpu": "20m"}})
        self.assertNotIn("overhead", got["caisson-builtin"])
        self.assertNotIn("overhead", got["caisson-fc"])
        lab = self.generate([{**row, "cpu_millicores": None}])  # the laboratory knows nothing of CPU time
        self.assertEqual(lab["caisson-qemu"]["overhead"], {"podFixed": {"memory": "192Mi"}})
        self.assertEqual(lab["caisson"]["overhead"], {"podFixed": {"memory": "192Mi"}})

    def test_drivers_keep_what_was_measured(self):
        """What the runtime keeps free of the guest is what the RuntimeClass accounts for."""
        for row in json.loads((DEPLOY / "overhead.json").read_text()):
            if row["acceleration"] == "kvm":
                name = {"firecracker": "fc"}.get(row["hypervisor"], row["hypervisor"])
                source = (DEPLOY.parent / "src" / "hypervisor" / f"{name}_driver.c").read_text()
                kept = int(re.search(r"\.vmm_memory_mib = (\d+)", source).group(1))
                self.assertTrue(2 * row["vmm_mib"] <= kept <= 2 * row["vmm_mib"] + 16, row["hypervisor"])


class Manifests(unittest.TestCase):
    def load(self, name):
        return list(yaml.safe_load_all((DEPLOY / name).read_text()))

    def test_daemon_sets(self):
        for name, action in (("install.yaml", "install"), ("uninstall.yaml", "uninstall")):
            with self.subTest(name=name):
                found = next(o for o in self.load(name) if o["kind"] == "DaemonSet")
                spec = found["spec"]["template"]["spec"]
                self.assertEqual(found["spec"]["selector"]["matchLabels"], found["spec"]["template"]["metadata"]["labels"])
                self.assertEqual(spec["nodeSelector"], {"caisson/node": "true"})
                args = spec["initContainers"][0]["args"]
                self.assertEqual(args[-1], action)
                self.assertEqual(args[args.index("--root") + 1], spec["initContainers"][0]["volumeMounts"][0]["mountPath"])
                self.assertTrue(spec["hostPID"])

    def test_namespace(self):
        """Who deletes all of install.yaml deletes it, too, and uninstall.yaml must bring it again."""
        found = [[o for o in self.load(name) if o["kind"] == "Namespace"] for name in ("install.yaml", "uninstall.yaml")]
        self.assertEqual(len(found[0]), 1)
        self.assertEqual(*found)

    def test_arguments_work(self):
        """node-install takes the DaemonSets' arguments."""
        with tempfile.TemporaryDirectory(prefix="caisson-node-") as where:
            node = Node(where)
            node.put("etc/containerd/config.toml", CONFIG_V2)
            before = node.tree()
            for name in ("install.yaml", "uninstall.yaml"):
                found = next(o for o in self.load(name) if o["kind"] == "DaemonSet")
                args = found["spec"]["template"]["spec"]["initContainers"][0]["args"]
                here = {"/host": str(node.root), "/payload": str(node.payload)}
                args = ["true" if a.startswith("nsenter") else here.get(a, a) for a in args]
                subprocess.run([DEPLOY / "node-install", *args], check=True, capture_output=True)
            self.assertEqual(node.tree(), before)

    def test_example(self):
        spec = self.load("example.yaml")[0]["spec"]
        self.assertIn(spec["runtimeClassName"], HANDLERS)
        # a small node has a place for it
        self.assertEqual(spec["containers"][0]["resources"]["requests"], {"cpu": "100m"})

    def test_page_names_every_file(self):
        page = PAGE.read_text()
        for path in DEPLOY.rglob("*"):
            name = str(path.relative_to(DEPLOY))
            if path.is_file() and not name.startswith("payload"):
                self.assertIn(f"deploy/{name}", page)
        for h in HANDLERS:
            self.assertIn(f"`{h}`", page)


if __name__ == "__main__":
    unittest.main()
