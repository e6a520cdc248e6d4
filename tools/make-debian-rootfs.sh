#!/bin/sh
# Makes a small Debian 12 system to boot: an ext4 image without a partition table, its kernel and initial RAM disk.
# Needs root (for debootstrap) and the packages debootstrap and e2fsprogs; no loop mounts.
#   tools/make-debian-rootfs.sh [-m MIRROR] [-s SIZE] FOLDER
# leaves FOLDER/rootfs.img, FOLDER/vmlinuz, FOLDER/initrd.img. Start it with
#   tandem-system-x86_64 -nographic -m 512 -kernel FOLDER/vmlinuz -initrd FOLDER/initrd.img \
#     -append "console=ttyS0 root=/dev/vda" -drive file=FOLDER/rootfs.img,format=raw,if=virtio
# and log in as root, without a password.
set -eu

mirror=http://deb.debian.org/debian
size=1400M
while getopts m:s: option; do
  case $option in
  m) mirror=$OPTARG ;;
  s) size=$OPTARG ;;
  *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ $# = 1 ] || {
  sed -n 's/^#   //p' "$0" >&2
  exit 2
}
folder=$1
if [ "$(id -u)" != 0 ]; then
  echo "make-debian-rootfs: debootstrap needs root" >&2
  exit 1
fi
mkdir -p "$folder"
root=$folder/root
rm -rf "$root"

debootstrap --variant=minbase \
  --include=systemd-sysv,udev,dbus,kmod,linux-image-amd64,initramfs-tools,procps,iproute2 \
  bookworm "$root" "$mirror"

echo tandem >"$root/etc/hostname"
# No password for root, on the serial console too.
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
echo 'PS1="tandem# "' >>"$root/root/.bashrc"
echo 'LABEL=tandem / ext4 defaults 0 1' >"$root/etc/fstab"
# Nothing to set up at the first start.
ln -sf /dev/null "$root/etc/systemd/system/systemd-firstboot.service"
rm -rf "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"
mkdir -p "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"

cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
cp "$root"/boot/initrd.img-* "$folder/initrd.img"
rm -f "$folder/rootfs.img"
mke2fs -q -t ext4 -L tandem -d "$root" "$folder/rootfs.img" "$size"
rm -rf "$root"
ls -l "$folder"
