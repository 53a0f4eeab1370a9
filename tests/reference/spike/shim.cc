// A C interface to one Spike hart whose memory, registers and vector file are arrays that the caller sees.
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "mmu.h"
#include "processor.h"
#include "simif.h"
#include "softfloat.h"

namespace {
struct Region {
  reg_t base, size;
  char* host;
};

struct Machine final : simif_t {
  cfg_t cfg;
  std::string isa;
  std::vector<Region> regions;
  std::map<size_t, processor_t*> harts;
  processor_t* hart = nullptr;

  char* addr_to_mem(reg_t address) override {
    for (auto& r : regions)
      if (address - r.base < r.size) return r.host + (address - r.base);
    return nullptr;
  }
  bool mmio_load(reg_t, size_t, uint8_t*) override { return false; }
  bool mmio_store(reg_t, size_t, const uint8_t*) override { return false; }
  void proc_reset(unsigned) override {}
  const cfg_t& get_cfg() const override { return cfg; }
  const std::map<size_t, processor_t*>& get_harts() const override { return harts; }
  const char* get_symbol(uint64_t) override { return ""; }
};

constexpr reg_t STATUS = 0x6600;  // mstatus: vector and floating-point state on
}  // namespace

extern "C" {
Machine* spike_new(const char* isa) {
  auto* m = new Machine;
  m->isa = isa;
  m->cfg.pmpregions = 0;
  m->hart = new processor_t(m->isa.c_str(), "m", &m->cfg, m, 0, false, stderr, std::cout);
  m->harts[0] = m->hart;
  m->hart->VU.vstart_alu = true;  // arithmetic may resume at vstart
  m->hart->put_csr(CSR_MSTATUS, STATUS);
  return m;
}

void spike_delete(Machine* m) {
  delete m->hart;
  delete m;
}

void spike_region(Machine* m, uint64_t base, uint64_t size, char* host) {
  m->regions.push_back({base, size, host});
  m->hart->get_mmu()->flush_tlb();
}

void* spike_vectors(Machine* m) { return m->hart->VU.reg_file; }
const void* spike_integers(Machine* m) { return &m->hart->get_state()->XPR[0]; }
const void* spike_floats(Machine* m) { return &m->hart->get_state()->FPR[0]; }

uint64_t spike_csr(Machine* m, int number) { return m->hart->get_csr(number); }

// CSRs that programs cannot write freely are written past their access rules.
void spike_set_csr(Machine* m, int number, uint64_t value) {
  auto& vector = m->hart->VU;
  switch (number) {
    case CSR_VSTART: vector.vstart->write_raw(value); break;
    case CSR_VXRM: vector.vxrm->write_raw(value); break;
    case CSR_VXSAT: vector.vxsat->write(value); break;
    case CSR_VCSR: vector.vxsat->write(value & 1); vector.vxrm->write_raw(value >> 1 & 3); break;
    default: m->hart->put_csr(number, value);
  }
}

void spike_set_vtype(Machine* m, uint64_t vl, uint64_t vtype) { m->hart->VU.set_vl(1, 1, vl, vtype); }

void spike_yield(Machine* m) { m->hart->get_mmu()->yield_load_reservation(); }

void spike_flush(Machine* m) { m->hart->get_mmu()->flush_icache(); }

// Run `count` instructions from pc on, or up to a trap; `trap` is where mtvec points, an address never executed.
// out: pc, retired instructions, cause (all ones: no trap), tval.
void spike_run(Machine* m, uint64_t pc, uint64_t count, uint64_t trap, uint64_t* out) {
  auto* p = m->hart;
  auto* s = p->get_state();
  p->put_csr(CSR_MSTATUS, STATUS);
  p->put_csr(CSR_MTVEC, trap);
  s->XPR.write(0, 0);
  for (int i = 0; i < 32; i++) s->FPR.write(i, freg_t{{s->FPR[i].v[0], ~uint64_t(0)}});
  s->pc = pc;
  // Spike accrues what it finds there; whoever called SoftFloat directly before may have left flags.
  softfloat_exceptionFlags = 0;
  reg_t before = s->minstret->read();
  p->step(count);  // returns at a trap
  bool trapped = s->pc == trap;
  out[0] = trapped ? p->get_csr(CSR_MEPC) : s->pc;
  out[1] = s->minstret->read() - before;
  out[2] = trapped ? p->get_csr(CSR_MCAUSE) : ~uint64_t(0);
  out[3] = trapped ? p->get_csr(CSR_MTVAL) : 0;
}
}
