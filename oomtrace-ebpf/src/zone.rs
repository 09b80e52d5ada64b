//! The memory of the machine at the decision: the zones that the request could be served from, and what their nodes'
//! memory is used for. /proc tells of it only after the kill, when some of the victim's memory is back.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    helpers::generated::{bpf_get_numa_node_id, bpf_probe_read_kernel_str},
    macros::{map, raw_tracepoint},
    maps::Array,
    programs::RawTracePointContext,
};
use oomtrace_ebpf::{ABSENT, MAX_ORDERS, MAX_ZONES, NODE_COUNTERS, NODE_ID, Node, RecordKind, Zone, zone};

use crate::{
    memcg,
    read::{PARAMS, constant, copy, forget, get, into, number, succeeded},
    ring::{Wake, apart, emit},
    run::now,
    task,
};

/// `___GFP_HIGHMEM` and `___GFP_MOVABLE` (include/linux/gfp_types.h; by these values since 2.6.38): with both, a
/// request may be served from `ZONE_MOVABLE` (`gfp_zone()`).
const MOVABLE: u64 = 0x2 | 0x8;
/// Zones of a node, at the most (`MAX_NR_ZONES`).
const NODE_ZONES: u64 = 6;

/// The same of the zones from `zoneref` on, in a list of them; 0: there is none.
#[inline(always)]
pub fn send_zones_from(zoneref: u64, gfp_mask: u64) {
    let zonelist = match zoneref {
        0 => 0,
        // Such that its first zone is that one.
        at => at.wrapping_add(constant!(LAYOUT.zoneref_zone)).wrapping_sub(constant!(LAYOUT.zonelist_zone)),
    };
    send_zones(zonelist, gfp_mask);
}

/// Sends a record for each zone of `zonelist` and for each of their nodes. Where there is no list, no node ran out, and
/// those of the node are sent that the current thread runs on. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_zones(zonelist: u64, gfp_mask: u64) -> u64 {
    let movable = gfp_mask & MOVABLE == MOVABLE;
    // One value to the verifier, and not two ways.
    let reserve = forget(if movable {
        constant!(PARAMS.zone_reserve_movable)
    } else {
        constant!(PARAMS.zone_reserve_normal)
    });
    if zonelist == 0 {
        return send_local(reserve);
    }
    let first = constant!(LAYOUT.zonelist_zone);
    let stride = constant!(LAYOUT.zonelist_zone_next).wrapping_sub(first);
    let mut node = 0;
    for index in 0..MAX_ZONES as u64 {
        let zone = number::<u64>(zonelist, first.wrapping_add(index.wrapping_mul(stride)));
        if zone == 0 {
            break;
        }
        let pgdat = send_zone(zone, reserve);
        // A list has each node's zones in one piece (build_zonelists(), mm/page_alloc.c).
        if pgdat != node {
            node = pgdat;
            send_node(pgdat);
        }
    }
    0
}

/// Sends the current thread's node and its zones that have memory. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_local(reserve: u64) -> u64 {
    // SAFETY: the helper takes no argument and cannot fail.
    let pgdat = node_of(u64::from(unsafe { bpf_get_numa_node_id() } as u32));
    if pgdat == 0 {
        return 0;
    }
    for index in 0..NODE_ZONES {
        let zone = zone_of(pgdat, index);
        if zone != 0 && get!(zone, zone_managed) != 0 {
            send_zone(zone, reserve);
        }
    }
    send_node(pgdat)
}

/// Sends a zone, and returns its node. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_zone(zone: u64, reserve: u64) -> u64 {
    emit(RecordKind::Zone, Wake::Later, |record: &mut Zone| read_zone(record, zone, reserve));
    get!(zone, zone_pgdat)
}

/// Sends a node. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_node(pgdat: u64) -> u64 {
    emit(RecordKind::Node, Wake::Later, |record: &mut Node| read_node(record, pgdat));
    0
}

/// The node of that number, which is found by the current thread's memory cgroup, as no variable of the kernel can be
/// had everywhere; 0 if it cannot be found. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn node_of(nid: u64) -> u64 {
    let memcg = memcg::of(task::memory_css(task::current()));
    let offset = constant!(LAYOUT.memcg_nodeinfo).wrapping_add(nid.wrapping_mul(8));
    get!(number::<u64>(memcg, offset), memcg_node_pgdat)
}

/// The zone of that number of a node; 0: it has none. A global function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn zone_of(pgdat: u64, index: u64) -> u64 {
    let first = constant!(LAYOUT.pgdat_zone);
    let next = constant!(LAYOUT.pgdat_zone_next);
    let within = constant!(LAYOUT.zone_pgdat);
    if first == ABSENT || next == ABSENT || within == ABSENT {
        return 0;
    }
    if index >= u64::from(get!(pgdat, pgdat_nr_zones as u32)) {
        return 0;
    }
    let stride = next.wrapping_sub(first);
    pgdat.wrapping_add(first.wrapping_sub(within)).wrapping_add(index.wrapping_mul(stride))
}

/// Reads a zone; `reserve` is where it keeps what this request must leave.
#[inline(always)]
fn read_zone(record: &mut Zone, zone: u64, reserve: u64) {
    copy!(record.node <- get!(zone, zone_pgdat), pgdat_node_id, zone::NODE);
    let name = get!(zone, zone_name) as *const core::ffi::c_void;
    // SAFETY: the buffer has that many bytes; the helper checks the source and fails on a bad one.
    let len = unsafe { bpf_probe_read_kernel_str(record.name.as_mut_ptr().cast(), 16, name) };
    record.present |= zone::NAME * succeeded(len);
    record.present |= zone::FREE * into(&raw mut record.free_pages, zone, constant!(PARAMS.zone_free));
    copy!(record.watermark_pages <- zone, zone_watermark, zone::WATERMARKS);
    copy!(record.boost_pages <- zone, zone_watermark_boost, zone::BOOST);
    copy!(record.managed_pages <- zone, zone_managed, zone::MANAGED);
    copy!(record.present_pages <- zone, zone_present, zone::PRESENT);
    record.present |= zone::RESERVE * into(&raw mut record.reserve_pages, zone, reserve);
    let first = constant!(LAYOUT.zone_blocks);
    // Where one of the two is absent, so is the first count or the second.
    let stride = constant!(LAYOUT.zone_blocks_next).wrapping_sub(first);
    let orders = constant!(PARAMS.orders);
    let mut read = u32::from(orders > 0);
    for order in 0..MAX_ORDERS {
        if order as u32 >= orders {
            break;
        }
        let place = first.wrapping_add((order as u64).wrapping_mul(stride));
        read &= into(&raw mut record.blocks[order], zone, place);
    }
    record.orders = orders;
    record.present |= zone::BLOCKS * read;
}

/// Reads a node.
#[inline(always)]
fn read_node(record: &mut Node, pgdat: u64) {
    copy!(record.node <- pgdat, pgdat_node_id, NODE_ID);
    for counter in 0..NODE_COUNTERS.len() {
        // SAFETY: the element of a static is valid for reads.
        let offset = unsafe { read_volatile(&raw const PARAMS.node_counters[counter]) };
        record.present |= into(&raw mut record.counters[counter], pgdat, offset) << counter;
    }
}

/// What [`zones_raw_tp`] saw: a [`Zone`] and a [`Node`].
#[map]
static ZONES_SEEN: Array<Seen> = Array::with_max_entries(1, 0);

#[repr(C)]
struct Seen {
    zone: Zone,
    node: Node,
}

/// Shows userspace, which runs it (`BPF_PROG_TEST_RUN`), the zone of the number that is its second argument, of the node
/// that is the first, as a decision would show it to a request for `ZONE_NORMAL`. If there is none, all stays zero.
#[raw_tracepoint]
fn zones_raw_tp(ctx: RawTracePointContext) -> i32 {
    let Some(seen) = ZONES_SEEN.get_ptr_mut(0) else { return 0 };
    // SAFETY: an element lives as long as its map; nobody else runs this program. Records are valid when zeroed.
    let seen = unsafe {
        for word in 0..size_of::<Seen>() / 8 {
            write_volatile(seen.cast::<u64>().add(word), 0);
        }
        &mut *seen
    };
    let pgdat = node_of(ctx.arg(0));
    let zone = zone_of(pgdat, ctx.arg(1));
    if zone == 0 {
        return 0;
    }
    seen.zone.header = apart(RecordKind::Zone, size_of::<Zone>(), now());
    read_zone(&mut seen.zone, zone, constant!(PARAMS.zone_reserve_normal));
    seen.node.header = apart(RecordKind::Node, size_of::<Node>(), now());
    read_node(&mut seen.node, pgdat);
    0
}
