#!/bin/sh
# Builds the embedded ppc64le guest: kernel (vmlinux.zst) and initial root file system (initrd.lz4).
#
#   build.sh [BUILD-DIRECTORY]         default: /var/tmp/tandem-guest-ppc64le
#
# Needs Debian 12 with: linux-source-6.1 6.1.192-2, gcc-powerpc64le-linux-gnu, build-essential bc bison flex cpio lz4 zstd
# libelf-dev libssl-dev; it downloads busybox-static 1:1.35.0-4+deb12u1+b1 of architecture ppc64el from Debian's archive. The
# same packages give the same bytes: time stamps, user, host and build number are fixed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-/var/tmp/tandem-guest-ppc64le}
: "${JOBS:=$(nproc)}"

export SOURCE_DATE_EPOCH=1735689600 TZ=UTC LC_ALL=C
export KBUILD_BUILD_TIMESTAMP='2025-01-01 00:00:00 UTC' KBUILD_BUILD_USER=tandem KBUILD_BUILD_HOST=tandem KBUILD_BUILD_VERSION=1

mkdir -p "$build"
cd "$build"
build=$(pwd)

# Kernel. An ELF file is what the pseries machine starts; Tandem's loader unpacks Zstandard.
[ -d linux-source-6.1 ] || tar xf /usr/src/linux-source-6.1.tar.xz
cross="ARCH=powerpc CROSS_COMPILE=powerpc64le-linux-gnu-"
# shellcheck disable=SC2086
make -C linux-source-6.1 $cross KCONFIG_ALLCONFIG="$here/config" allnoconfig
# shellcheck disable=SC2086
make -C linux-source-6.1 $cross -j"$JOBS" vmlinux
powerpc64le-linux-gnu-strip -o vmlinux linux-source-6.1/vmlinux
zstd -19 -f -q vmlinux -o "$here/vmlinux.zst"

# BusyBox of the other architecture, by an apt with its own root.
if [ ! -x busybox/bin/busybox ]; then
  mkdir -p apt/lists/partial apt/cache/archives/partial
  : >apt/status
  cat >apt/apt.conf <<CONF
APT::Architecture "ppc64el";
APT::Architectures { "ppc64el"; };
APT::Sandbox::User "root";
Dir::State "$build/apt";
Dir::State::status "$build/apt/status";
Dir::Cache "$build/apt/cache";
Dir::Etc::sourcelist "$build/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
CONF
  echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' >apt/sources.list
  APT_CONFIG=$build/apt/apt.conf apt-get update
  APT_CONFIG=$build/apt/apt.conf apt-get download busybox-static=1:1.35.0-4+deb12u1+b1
  dpkg-deb -x busybox-static_*_ppc64el.deb busybox
fi

# Root file system: one static busybox, its links, the first process. The list of applets comes from the host's busybox of
# the same version, which can run here.
rm -rf root
mkdir -p root/bin root/sbin root/usr/bin root/usr/sbin root/dev root/proc root/sys root/tmp root/root root/etc root/mnt root/run
cp busybox/bin/busybox root/bin/busybox
chmod 755 root/bin/busybox
for path in $(/bin/busybox --list-full); do
  [ -e "root/$path" ] || ln -s /bin/busybox "root/$path"
done
cp "$here/../x86_64/init" root/init
cp "$here/../x86_64/udhcpc.sh" root/etc/udhcpc.sh
cp "$here/../x86_64/shrc" root/etc/shrc
chmod 755 root/init root/etc/udhcpc.sh
chmod 644 root/etc/shrc
echo 'root:x:0:0:root:/root:/bin/sh' >root/etc/passwd
echo 'root:x:0:' >root/etc/group
echo '127.0.0.1 localhost tandem' >root/etc/hosts
{
  # A console before /dev is mounted: the kernel opens /dev/console for the first process.
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
sha256sum vmlinux.zst initrd.lz4 >SHA256SUMS
ls -l vmlinux.zst initrd.lz4
