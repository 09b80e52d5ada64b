#!/bin/sh
# The guest's first process. It sets the machine up, runs the command with its output on two serial ports, and reports
# over a third: "started", "tainted N", "artifacts N" and last "exit N" (see guest.rs).
export PATH=/usr/local/bin:/usr/bin HOME=/root TERM=dumb LANG=C.UTF-8

mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ln -sf /proc/self/fd /dev/fd
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up
hostname -F /etc/hostname

# Neither this script nor the two relays below may become a victim.
echo -1000 >/proc/self/oom_score_adj
for port in 1 2 3; do stty -F /dev/ttyS$port raw -echo; done
echo started >/dev/ttyS3

# The command writes to pipes, since on a terminal some programs would behave otherwise.
mkfifo /run/.stdout /run/.stderr
cat /run/.stdout >/dev/ttyS1 &
out=$!
cat /run/.stderr >/dev/ttyS2 &
err=$!
exec 8>/run/.stdout 9>/run/.stderr
status=0
while read -r module parameters; do
    # Parameters are several words.
    insmod "/etc/guest/modules/$module" $parameters 2>&9 || status=126
done </etc/guest/modules.list
if [ $status = 0 ]; then
    (
        echo 0 >/proc/self/oom_score_adj
        cd /root
        exec sh /etc/guest/command </dev/null >&8 2>&9 8>&- 9>&-
    )
    status=$?
fi
exec 8>&- 9>&-

# What the command left running would keep the pipes open. (A kernel thread has no exe.)
for process in /proc/[0-9]*; do
    case ${process#/proc/} in
    1 | $out | $err) ;;
    *) [ -e "$process/exe" ] && kill -9 "${process#/proc/}" 2>/dev/null ;;
    esac
done
wait $out $err

tainted=$(cat /proc/sys/kernel/tainted)
dmesg >/kernel.log
tries=0
until [ -b /dev/nvme0n1 ] || [ $tries = 100 ]; do
    usleep 100000
    tries=$((tries + 1))
done
tar -c -f /dev/nvme0n1 -C / kernel.log artifacts
written=$?
sync
printf 'tainted %s\nartifacts %s\nexit %s\n' "$tainted" $written $status >/dev/ttyS3
poweroff -f
