#!/bin/sh
# Builds the embedded x86-64 guest: kernel (bzImage) and initial root file system (initrd.lz4).
#
#   build.sh [BUILD-DIRECTORY]         default: /var/tmp/tandem-guest
#
# Needs Debian 12 with: linux-source-6.1 6.1.192-2, busybox-static 1:1.35.0-4+deb12u1+b1, build-essential bc bison flex cpio
# lz4 libelf-dev libssl-dev. The same packages give the same bytes: time stamps, user, host and build number are fixed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-/var/tmp/tandem-guest}
: "${JOBS:=$(nproc)}"

export SOURCE_DATE_EPOCH=1735689600 TZ=UTC LC_ALL=C
export KBUILD_BUILD_TIMESTAMP='2025-01-01 00:00:00 UTC' KBUILD_BUILD_USER=tandem KBUILD_BUILD_HOST=tandem KBUILD_BUILD_VERSION=1

mkdir -p "$build"
cd "$build"

# Kernel. LZ4, because decompressing it takes an emulator a tenth of what gzip takes, and because Tandem's loader can
# unpack LZ4 itself and start the kernel without its decompressor.
[ -d linux-source-6.1 ] || tar xf /usr/src/linux-source-6.1.tar.xz
make -C linux-source-6.1 ARCH=x86_64 KCONFIG_ALLCONFIG="$here/config" allnoconfig
make -C linux-source-6.1 ARCH=x86_64 -j"$JOBS" bzImage
cp linux-source-6.1/arch/x86/boot/bzImage "$here/bzImage"

# Root file system: one static busybox, its links, the first process.
rm -rf root
mkdir -p root/bin root/sbin root/usr/bin root/usr/sbin root/dev root/proc root/sys root/tmp root/root root/etc root/mnt root/run
cp /bin/busybox root/bin/busybox
chmod 755 root/bin/busybox
for path in $(root/bin/busybox --list-full); do
  [ -e "root/$path" ] || ln -s /bin/busybox "root/$path"
done
cp "$here/init" root/init
cp "$here/udhcpc.sh" root/etc/udhcpc.sh
cp "$here/shrc" root/etc/shrc
chmod 755 root/init root/etc/udhcpc.sh
chmod 644 root/etc/shrc
echo 'root:x:0:0:root:/root:/bin/sh' >root/etc/passwd
echo 'root:x:0:' >root/etc/group
echo '127.0.0.1 localhost tandem' >root/etc/hosts
{
  # A console before /dev is mounted: the kernel opens /dev/console for the first process. Made by gen_init_cpio's format,
  # which needs no root rights for device nodes.
  echo 'nod /dev/console 600 0 0 c 5 1'
  echo 'nod /dev/null 666 0 0 c 1 3'
  (cd root && find . -mindepth 1 | sort) | while read -r path; do
    name=${path#.}
    if [ -L "root/$name" ]; then
      echo "slink $name $(readlink "root/$name") 777 0 0"
    elif [ -d "root/$name" ]; then
      echo "dir $name 755 0 0"
    else
      echo "file $name $build/root$name $(stat -c %a "root/$name") 0 0"
    fi
  done
} | sort -s -t' ' -k2,2 >initrd.list
linux-source-6.1/usr/gen_init_cpio -t "$SOURCE_DATE_EPOCH" initrd.list >initrd.cpio
# The legacy frame format is the one the kernel knows.
lz4 -l -9 -f -q initrd.cpio "$here/initrd.lz4"

cd "$here"
sha256sum bzImage initrd.lz4 >SHA256SUMS
ls -l bzImage initrd.lz4
