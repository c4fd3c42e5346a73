#!/bin/sh
# Runs a command in a root file system as Lambda does: as an unprivileged user, with nothing to write to but /tmp.
#   sandbox.sh ROOT EMULATOR USER COMMAND...
# To be called in mount and process namespaces of its own. It stays their first process, and so nothing outlives it.
set -e
root=$1 emulator=$2 user=$3
shift 3

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
for folder in tmp dev opt; do mount -t tmpfs tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
touch "$root/opt/emulator"
mount --bind "$emulator" "$root/opt/emulator"
mount -o remount,ro,bind "$root"

chroot --userspec="$user" "$root" "$@"
