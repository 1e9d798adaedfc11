# SPDX-License-Identifier: Apache-2.0
# Kernel modules that the agent loads before it does anything else, when the guest kernel is Debian's (the tuned kernel
# has no modules). One name a line; guest/make-initramfs adds what each depends on and writes the load order to
# /etc/caisson/modules in the initramfs. Only what the agent needs to be heard: the host waits for that. Everything
# else is in modules.demand.
virtio_pci
virtio_mmio
vmw_vsock_virtio_transport
