// One Spike hart with memory given by the caller: the reference for single vector instructions.
#include <cstring>
#include <iostream>
#include <map>
#include <vector>

#include "mmu.h"
#include "processor.h"
#include "simif.h"

namespace {
struct Region {
  reg_t base, size;
  char* host;
};

struct Machine final : simif_t {
  cfg_t cfg;
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
}  // namespace

// Scalars that go in and out of one step. `cause` is -1 if the instruction retired.
struct Exchange {
  uint64_t x[32], f[32], vl, vtype, vstart, vxrm, vxsat, fcsr, cause, tval;
};

extern "C" {
Machine* spike_new(const char* isa) {
  auto* m = new Machine;
  m->cfg.pmpregions = 0;
  m->hart = new processor_t(isa, "m", &m->cfg, m, 0, false, stderr, std::cout);
  m->harts[0] = m->hart;
  m->hart->VU.vstart_alu = true;  // arithmetic may resume at vstart, too
  return m;
}

void spike_region(Machine* m, uint64_t base, uint64_t size, char* host) { m->regions.push_back({base, size, host}); }

void* spike_vectors(Machine* m) { return m->hart->VU.reg_file; }

// Execute the instruction at pc; the trap vector must not be pc + 4.
void spike_step(Machine* m, uint64_t pc, uint64_t trap, Exchange* e) {
  auto* p = m->hart;
  auto* s = p->get_state();
  p->put_csr(CSR_MSTATUS, 0x6600);
  p->put_csr(CSR_MTVEC, trap);
  p->put_csr(CSR_MCAUSE, 0);
  for (int i = 1; i < 32; i++) s->XPR.write(i, e->x[i]);
  for (int i = 0; i < 32; i++) s->FPR.write(i, freg_t{{e->f[i], ~uint64_t(0)}});
  p->VU.set_vl(1, 1, e->vl, e->vtype);
  p->VU.vstart->write_raw(e->vstart);
  p->VU.vxrm->write_raw(e->vxrm);
  p->VU.vxsat->write(e->vxsat);
  p->put_csr(CSR_FCSR, e->fcsr);
  p->get_mmu()->flush_icache();
  s->pc = pc;
  p->step(1);
  bool trapped = s->pc == trap;
  e->cause = trapped ? p->get_csr(CSR_MCAUSE) : ~uint64_t(0);
  e->tval = p->get_csr(CSR_MTVAL);
  for (int i = 0; i < 32; i++) e->x[i] = s->XPR[i];
  for (int i = 0; i < 32; i++) e->f[i] = s->FPR[i].v[0];
  e->vl = p->VU.vl->read();
  e->vtype = p->VU.vtype->read();
  e->vstart = p->VU.vstart->read();
  e->vxrm = p->VU.vxrm->read();
  e->vxsat = p->VU.vxsat->read();
  e->fcsr = p->get_csr(CSR_FCSR);
}
}
