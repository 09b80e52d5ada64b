#!/bin/sh
# What the guest's unit runs at each start: the command, and then, over the third serial port, "tainted N",
# "artifacts N" and last "exit N" (see guest.rs and init.sh).
for port in 1 2 3; do stty -F /dev/ttyS$port raw -echo; done
echo started >/dev/ttyS3
cd /root || exit
sh /etc/guest/command </dev/null
status=$?

tainted=$(cat /proc/sys/kernel/tainted)
dmesg >/kernel.log
# The disk's second namespace.
tar -c -f /dev/nvme0n2 -C / kernel.log artifacts
written=$?
sync
printf 'tainted %s\nartifacts %s\nexit %s\n' "$tainted" $written $status >/dev/ttyS3
systemctl poweroff --force --force
