# To be sourced: how the lab's guest is put together and run. It needs $lab_dir, the folder of scripts/lab.

guest_dir= # the unpacked packages, once fetched
guest_lab= # the folder that outlives a run
guest_pid= # the guest, while it runs

# Packs the modules and the first process into an initial file system.
guest_pack() { # file to make
    local root
    root=$(mktemp -d "$1.XXXXXX")
    mkdir -p "$root"/{bin,proc,sys,dev}
    cp "$guest_dir/usr/bin/busybox" "$root/bin/busybox"
    cp "$lab_dir/init" "$root/init"
    cp -r "$guest_dir/modules" "$root/modules"
    (cd "$root" && find . | "$guest_dir/usr/bin/busybox" cpio -o -H newc 2> /dev/null) > "$root.new"
    mv "$root.new" "$1"
    rm -rf "$root"
}

# Fetches and packs what is not there yet.
guest_prepare() {
    guest_dir=$("$lab_dir/fetch" guest)
    guest_lab=$(dirname "$guest_dir")
    local stamp
    stamp=$(cat "$lab_dir/init" "$lab_dir/guest.sh" | sha256sum)
    if [ "$(cat "$guest_dir/initrd.stamp" 2> /dev/null)" != "$stamp" ]; then
        guest_pack "$guest_dir/initrd"
        echo "$stamp" > "$guest_dir/initrd.stamp"
    fi
}

# Boots the guest and waits until it is off or the time is up. It runs FOLDER/start as root on the host's files, all of
# which it may change and none of which change; only FOLDER is really written to, as /run/lab.
guest_run() { # folder, seconds, further options of qemu
    local folder=$1 seconds=$2
    shift 2
    rm -f "$folder/code"
    : > "$folder/output"
    # Software emulation on purpose: hosts that offer KVM and cannot boot a guest with it are common in CI.
    LD_LIBRARY_PATH=$guest_dir/usr/lib/x86_64-linux-gnu \
        QEMU_MODULE_DIR=$guest_dir/usr/lib/x86_64-linux-gnu/qemu \
        timeout --kill-after=5 "$seconds" "$guest_dir/usr/bin/qemu-system-x86_64" \
        -machine q35 -accel tcg,thread=multi -cpu max -smp "$(nproc)" -m "${KEYRACK_LAB_MEMORY:-3G}" \
        -L "$guest_dir/usr/share/qemu" -L "$guest_dir/usr/share/seabios" \
        -nodefaults -no-user-config -display none -vga none -nic none \
        -kernel "$guest_dir/kernel" -initrd "$guest_dir/initrd" \
        -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off clocksource=acpi_pm" \
        -serial "file:$folder/console" -no-reboot \
        -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-pci,fsdev=host,mount_tag=host \
        -fsdev local,id=packages,path="$guest_dir",security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-pci,fsdev=packages,mount_tag=packages \
        -fsdev local,id=lab,path="$folder",security_model=none,multidevs=remap \
        -device virtio-9p-pci,fsdev=lab,mount_tag=lab \
        "$@" < /dev/null &
    guest_pid=$!
    local code=0
    wait "$guest_pid" || code=$?
    guest_pid=
    return "$code"
}

# Ends a guest that still runs.
guest_stop() {
    [ -z "$guest_pid" ] || kill "$guest_pid" 2> /dev/null || true
}
