# SPDX-License-Identifier: Apache-2.0
# Kernel modules that the agent loads before it does anything else, when the guest kernel is Debian's (the tuned kernel
# has no modules). One name a line; guest/make-initramfs adds what each depends on and writes the load order to
# /etc/caisson/modules in the initramfs. What the agent needs to be heard comes first.
virtio_pci
virtio_mmio
vmw_vsock_virtio_transport
# the usual root file system of a container
virtiofs
overlay
# usual devices
virtio_blk
virtio_net
virtio_console
virtio-rng
# gives unused memory back to the host
virtio_balloon
# memory hot-plug
virtio_mem
