// The cluster: cores with their vector units, L1, the DMA, the registers. Outside stand fetch, which is answered in the same
// cycle, DRAM, and a host that fills and reads L1 by beats while the cores do not run. Ports are plain numbers; those of
// cores are one behind the other, core 0 in the lowest bits.
`include "assertions.svh"

module cluster
  import potluck_isa_pkg::*;
  import core_pkg::*;
  import cluster_pkg::*;
#(
  parameter int unsigned Cores            = 1,
  parameter int unsigned L1Bytes          = 131072,
  parameter int unsigned L1Banks          = 16,
  parameter int unsigned Load             = 3,
  parameter int unsigned Atomic           = 3,
  parameter int unsigned FloatLoad        = 3,
  parameter int unsigned VectorLoad       = 5,
  parameter bit          SharedScalarPort = 1'b0,
  parameter int unsigned DmaSetup         = 12,
  parameter int unsigned DmaQueue         = 16,
  parameter int unsigned DmaTransfers     = 16,
  parameter int unsigned DmaOutstanding   = 256,
  // Of a core, as vector_tile has them.
  parameter int unsigned VlenBytes        = 64,
  parameter int unsigned Multiply         = 3,
  parameter int unsigned Divide           = 32,
  parameter int unsigned BranchTaken      = 0,
  parameter int unsigned Jump             = 0,
  parameter int unsigned FenceI           = 10,
  parameter int unsigned FloatResult      = 1,
  parameter bit          Chaining         = 1'b1,
  parameter int unsigned QueueDepth       = 2,
  parameter int unsigned IntegerLatency   = 2,
  parameter int unsigned FmaLatency       = 3,
  parameter int unsigned NoncompLatency   = 2,
  parameter int unsigned ConvertLatency   = 3,
  parameter int unsigned MxdotpLatency    = 4,
  parameter int unsigned DivideCycles     = 8
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        start_i,          // the cores leave reset, and never come back
  input  logic [63:0] entry_i,
  input  logic [63:0] l1_begin_i,       // a multiple of its size
  input  logic [63:0] dram_begin_i,
  input  logic [63:0] dram_bytes_i,
  input  logic [63:0] dram_writable_i,
  input  logic [63:0] registers_begin_i,

  output logic [Cores-1:0][63:0] fetch_address_o,
  input  logic [Cores-1:0]       fetch_valid_i,
  input  logic [Cores-1:0]       fetch_fault_i,
  input  logic [Cores-1:0][31:0] fetch_data_i,
  output logic [Cores-1:0]       fetch_anew_o,

  // The host.
  input  logic         host_valid_i,
  input  logic         host_write_i,
  input  logic [63:0]  host_address_i,
  input  logic [511:0] host_data_i,
  output logic         host_granted_o,
  output logic [511:0] host_data_o,     // in the next cycle

  // What cores (bit 0) and FP sequencers (bit 1) ask of memory, and what of it is taken.
  output logic [Cores-1:0][1:0]       request_taken_o,
  output logic [Cores-1:0][1:0]       request_write_o,
  output logic [Cores-1:0]            request_atomic_o,
  output logic [Cores-1:0][1:0][1:0]  request_size_o,
  output logic [Cores-1:0][1:0][63:0] request_address_o,
  output logic [Cores-1:0][1:0][7:0]  request_strobe_o,
  output logic [Cores-1:0][1:0][63:0] request_data_o,
  // Of DRAM.
  output logic [Cores-1:0][1:0]       far_valid_o,
  input  logic [Cores-1:0][1:0]       far_ready_i,
  input  logic [Cores-1:0][1:0]       far_answer_i,
  input  logic [Cores-1:0][1:0][63:0] far_data_i,
  input  logic [Cores-1:0][63:0]      atomic_old_i,
  output logic [Cores-1:0][63:0]      atomic_new_o,
  output logic [Cores-1:0][VectorPorts-1:0]       far_port_valid_o,
  output logic [Cores-1:0]                        port_write_o,
  output logic [Cores-1:0][VectorPorts-1:0][63:0] port_address_o,
  output logic [Cores-1:0][VectorPorts-1:0][7:0]  port_strobe_o,
  output logic [Cores-1:0][VectorPorts-1:0][63:0] port_data_o,
  input  logic [Cores-1:0][VectorPorts-1:0]       far_port_ready_i,
  input  logic [Cores-1:0][VectorPorts-1:0]       far_port_answer_i,
  input  logic [Cores-1:0][VectorPorts-1:0][63:0] far_port_data_i,

  // What the DMA asks of DRAM: beats, answered in order, reads with data and writes without.
  output logic         dma_read_o,
  input  logic         dma_read_ready_i,
  output logic [63:0]  dma_read_address_o,
  input  logic         dma_data_valid_i,
  output logic         dma_data_ready_o,
  input  logic [511:0] dma_data_i,
  output logic         dma_write_o,
  input  logic         dma_write_ready_i,
  output logic [63:0]  dma_write_address_o,
  output logic [63:0]  dma_write_strobe_o,
  output logic [511:0] dma_write_data_o,
  input  logic         dma_written_i,
  output logic         dma_wrong_o,     // a transfer that is not inside one memory at each end
  output logic         dma_idle_o,

  // Retired instructions, writes to the registers, and the end.
  output logic [Cores-1:0]       trap_o,
  output logic [Cores-1:0][3:0]  trap_cause_o,
  output logic [Cores-1:0][63:0] trap_pc_o,
  output logic [Cores-1:0][63:0] trap_address_o,
  output logic [Cores-1:0]       retired_o,
  output logic [Cores-1:0][63:0] retired_pc_o,
  output logic [Cores-1:0][31:0] retired_word_o,
  output logic [Cores-1:0][6:0]  retired_writes_o,
  output logic [Cores-1:0]       retired_float_store_o,
  output logic [Cores-1:0][13:0] retired_fcsr_o,
  output logic [Cores-1:0][IntegerWritePorts-1:0]       x_write_o,
  output logic [Cores-1:0][IntegerWritePorts-1:0][4:0]  x_register_o,
  output logic [Cores-1:0][IntegerWritePorts-1:0][63:0] x_value_o,
  output logic [Cores-1:0][FloatWritePorts-1:0]         f_write_o,
  output logic [Cores-1:0][FloatWritePorts-1:0][4:0]    f_register_o,
  output logic [Cores-1:0][FloatWritePorts-1:0][63:0]   f_value_o,

  // What the vector units do.
  output logic [Cores-1:0]             issued_o,
  output logic [Cores-1:0][1:0]        issued_id_o,
  output logic [Cores-1:0][63:0]       issued_pc_o,
  output logic [Cores-1:0][2:0]        wrote_o,
  output logic [Cores-1:0][2:0][7:0]   wrote_id_o,
  output logic [Cores-1:0][2:0][7:0]   wrote_word_o,
  output logic [Cores-1:0][2:0][31:0]  wrote_strobe_o,
  output logic [Cores-1:0][2:0][255:0] wrote_data_o,
  output logic [Cores-1:0][5:0]        raised_o,
  output logic [Cores-1:0][1:0]        raised_id_o
);

  localparam int unsigned WidePorts = 3;
  localparam int unsigned HostPort = 0, WritePort = 1, ReadPort = 2;

  memory_map_t map;
  assign map = '{l1_begin: l1_begin_i, l1_bytes: 64'(L1Bytes), dram_begin: dram_begin_i, dram_bytes: dram_bytes_i,
                 dram_writable: dram_writable_i, registers_begin: registers_begin_i};

  logic started_q, running_q, core_rst_n;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      started_q <= 1'b0;
      running_q <= 1'b0;
    end else begin
      started_q <= started_q | start_i;
      running_q <= started_q;
    end
  end
  assign core_rst_n = rst_ni & started_q;

  // L1.
  wide_t [WidePorts-1:0] wide;
  logic [WidePorts-1:0] wide_granted;
  logic [WidePorts-1:0][511:0] wide_data;
  narrow_t [Cores-1:0] near_core, near_float;
  narrow_t [Cores-1:0][VectorPorts-1:0] near_vector;
  logic [Cores-1:0] near_core_granted, near_float_granted;
  logic [Cores-1:0][VectorPorts-1:0] near_vector_granted;
  logic [Cores-1:0][63:0] near_core_data, near_float_data;
  logic [Cores-1:0][VectorPorts-1:0][63:0] near_vector_data;

  assign wide[HostPort] = '{valid: host_valid_i, write: host_write_i, address: host_address_i, strobe: '1,
                            data: host_data_i};
  assign host_granted_o = wide_granted[HostPort];
  assign host_data_o    = wide_data[HostPort];

  l1_memory #(
    .Cores    (Cores),
    .Banks    (L1Banks),
    .Bytes    (L1Bytes),
    .WidePorts(WidePorts)
  ) u_l1 (
    .clk_i,
    .rst_ni,
    .wide_i          (wide),
    .wide_granted_o  (wide_granted),
    .wide_data_o     (wide_data),
    .vector_i        (near_vector),
    .vector_granted_o(near_vector_granted),
    .vector_data_o   (near_vector_data),
    .float_i         (near_float),
    .float_granted_o (near_float_granted),
    .float_data_o    (near_float_data),
    .core_i          (near_core),
    .core_granted_o  (near_core_granted),
    .core_data_o     (near_core_data)
  );

  // Registers.
  logic [Cores-1:0] register_request, register_answer;
  logic [Cores-1:0][1:0] register_number;
  logic [Cores-1:0][63:0] register_data;
  cluster_registers #(
    .Cores(Cores)
  ) u_registers (
    .clk_i,
    .rst_ni,
    .running_i(running_q),
    .stopped_i(trap_o),
    .request_i(register_request),
    .number_i (register_number),
    .answer_o (register_answer),
    .data_o   (register_data)
  );

  // The DMA, which belongs to core 0; all may ask how far it is.
  logic [Cores-1:0] dma_valid, dma_ready;
  dma_order_t [Cores-1:0] dma_order;
  logic [Cores-1:0][63:0] dma_result;
  logic transfer_valid, transfer_ready, too_large, completed, wrong;
  transfer_t transfer;
  wide_t far_write;

  dma_frontend u_frontend (
    .clk_i,
    .rst_ni,
    .valid_i         (dma_valid[0]),
    .ready_o         (dma_ready[0]),
    .order_i         (dma_order[0]),
    .result_o        (dma_result[0]),
    .idle_o          (dma_idle_o),
    .transfer_valid_o(transfer_valid),
    .transfer_ready_i(transfer_ready),
    .transfer_o      (transfer),
    .too_large_o     (too_large),
    .completed_i     (completed)
  );

  dma_engine #(
    .Setup      (DmaSetup),
    .QueueDepth (DmaQueue),
    .Transfers  (DmaTransfers),
    .Outstanding(DmaOutstanding)
  ) u_dma (
    .clk_i,
    .rst_ni,
    .map_i               (map),
    .transfer_valid_i    (transfer_valid),
    .transfer_ready_o    (transfer_ready),
    .transfer_i          (transfer),
    .completed_o         (completed),
    .wrong_o             (wrong),
    .near_write_o        (wide[WritePort]),
    .near_write_granted_i(wide_granted[WritePort]),
    .near_read_o         (wide[ReadPort]),
    .near_read_granted_i (wide_granted[ReadPort]),
    .near_data_i         (wide_data[ReadPort]),
    .far_read_o          (dma_read_o),
    .far_read_ready_i    (dma_read_ready_i),
    .far_read_address_o  (dma_read_address_o),
    .far_data_valid_i    (dma_data_valid_i),
    .far_data_ready_o    (dma_data_ready_o),
    .far_data_i          (dma_data_i),
    .far_write_o         (far_write),
    .far_write_ready_i   (dma_write_ready_i),
    .far_written_i       (dma_written_i)
  );
  assign dma_write_o         = far_write.valid;
  assign dma_write_address_o = far_write.address;
  assign dma_write_strobe_o  = far_write.strobe;
  assign dma_write_data_o    = far_write.data;

  logic wrong_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) wrong_q <= 1'b0;
    else wrong_q <= wrong_q | too_large | wrong;
  end
  assign dma_wrong_o = wrong_q;

  // The cores.
  for (genvar core = 0; core < Cores; core++) begin : gen_core
    logic [1:0] valid, ready, in_dram, float_valid;
    logic [1:0][63:0] float_data;
    logic near_valid, answer_valid;
    logic [63:0] near_data, answer_data;
    narrow_t [1:0] request;
    logic [VectorPorts-1:0] port_valid, port_ready, near_answer, port_answer;
    logic [VectorPorts-1:0][63:0] near_port_data, port_answer_data;
    narrow_t [VectorPorts-1:0] port_request;
    logic [$bits(op_e)-1:0] op, dma_op;
    logic [1:0] port_id;

    if (core > 0) begin : gen_status
      // Orders of other cores than the first: none asks for a transfer.
      assign dma_ready[core]  = 1'b1;
      assign dma_result[core] = dma_result[0];
    end

    vector_tile #(
      .HasDma        (1'b1),
      .VlenBytes     (VlenBytes),
      .Multiply      (Multiply),
      .Divide        (Divide),
      .BranchTaken   (BranchTaken),
      .Jump          (Jump),
      .FenceI        (FenceI),
      .FloatResult   (FloatResult),
      .Chaining      (Chaining),
      .QueueDepth    (QueueDepth),
      .IntegerLatency(IntegerLatency),
      .FmaLatency    (FmaLatency),
      .NoncompLatency(NoncompLatency),
      .ConvertLatency(ConvertLatency),
      .MxdotpLatency (MxdotpLatency),
      .DivideCycles  (DivideCycles)
    ) u_tile (
      .clk_i,
      .rst_ni               (core_rst_n),
      .hart_i               (64'(core)),
      .harts_i              (64'(Cores)),
      .entry_i,
      .l1_begin_i,
      .l1_bytes_i           (64'(L1Bytes)),
      .dram_begin_i,
      .dram_bytes_i,
      .dram_writable_i,
      .registers_begin_i,
      .fetch_address_o      (fetch_address_o[core]),
      .fetch_valid_i        (fetch_valid_i[core]),
      .fetch_fault_i        (fetch_fault_i[core]),
      .fetch_data_i         (fetch_data_i[core]),
      .fetch_anew_o         (fetch_anew_o[core]),
      .request_valid_o      (valid),
      .request_ready_i      (ready),
      .request_write_o      (request_write_o[core]),
      .request_atomic_o     (request_atomic_o[core]),
      .request_op_o         (op),
      .request_in_dram_o    (in_dram),
      .request_size_o       (request_size_o[core]),
      .request_address_o    (request_address_o[core]),
      .request_strobe_o     (request_strobe_o[core]),
      .request_data_o       (request_data_o[core]),
      .answer_valid_i       (answer_valid),
      .answer_data_i        (answer_data),
      .float_valid_i        (float_valid),
      .float_data_i         (float_data),
      .atomic_old_i         (atomic_old_i[core]),
      .atomic_new_o         (atomic_new_o[core]),
      .dma_valid_o          (dma_valid[core]),
      .dma_ready_i          (dma_ready[core]),
      .dma_op_o             (dma_op),
      .dma_selector_o       (dma_order[core].selector),
      .dma_a_o              (dma_order[core].a),
      .dma_b_o              (dma_order[core].b),
      .dma_result_i         (dma_result[core]),
      .dma_idle_i           (dma_idle_o),
      .dma_own_i            (core == 0),
      .trap_o               (trap_o[core]),
      .trap_cause_o         (trap_cause_o[core]),
      .trap_pc_o            (trap_pc_o[core]),
      .trap_address_o       (trap_address_o[core]),
      .retired_o            (retired_o[core]),
      .retired_pc_o         (retired_pc_o[core]),
      .retired_word_o       (retired_word_o[core]),
      .retired_writes_o     (retired_writes_o[core]),
      .retired_float_store_o(retired_float_store_o[core]),
      .retired_fcsr_o       (retired_fcsr_o[core]),
      .x_write_o            (x_write_o[core]),
      .x_register_o         (x_register_o[core]),
      .x_value_o            (x_value_o[core]),
      .f_write_o            (f_write_o[core]),
      .f_register_o         (f_register_o[core]),
      .f_value_o            (f_value_o[core]),
      .port_valid_o         (port_valid),
      .port_write_o         (port_write_o[core]),
      .port_address_o       (port_address_o[core]),
      .port_strobe_o        (port_strobe_o[core]),
      .port_data_o          (port_data_o[core]),
      .port_ready_i         (port_ready),
      .port_answer_i        (port_answer),
      .port_answer_data_i   (port_answer_data),
      .issued_o             (issued_o[core]),
      .issued_id_o          (issued_id_o[core]),
      .issued_pc_o          (issued_pc_o[core]),
      .wrote_o              (wrote_o[core]),
      .wrote_id_o           (wrote_id_o[core]),
      .wrote_word_o         (wrote_word_o[core]),
      .wrote_strobe_o       (wrote_strobe_o[core]),
      .wrote_data_o         (wrote_data_o[core]),
      .raised_o             (raised_o[core]),
      .raised_id_o          (raised_id_o[core]),
      .port_id_o            (port_id)
    );

    assign dma_order[core].op = op_e'(dma_op);

    always_comb begin
      for (int unsigned side = 0; side < 2; side++) begin
        request[side] = '{valid: 1'b0, write: request_write_o[core][side], atomic: 1'b0, op: op_e'(op),
                          word: request_size_o[core][side] == 2'd2, address: request_address_o[core][side],
                          strobe: request_strobe_o[core][side], data: request_data_o[core][side]};
      end
      request[0].atomic = request_atomic_o[core];
      for (int unsigned port = 0; port < VectorPorts; port++) begin
        port_request[port] = '{valid: 1'b0, write: port_write_o[core], atomic: 1'b0, op: op_e'(op), word: 1'b0,
                               address: port_address_o[core][port], strobe: port_strobe_o[core][port],
                               data: port_data_o[core][port]};
      end
    end

    cluster_accesses #(
      .Load            (Load),
      .Atomic          (Atomic),
      .FloatLoad       (FloatLoad),
      .VectorLoad      (VectorLoad),
      .SharedScalarPort(SharedScalarPort)
    ) u_accesses (
      .clk_i,
      .rst_ni,
      .map_i                (map),
      .valid_i              (valid),
      .ready_o              (ready),
      .in_dram_i            (in_dram),
      .request_i            (request),
      .core_valid_o         (near_valid),
      .core_data_o          (near_data),
      .float_valid_o        (float_valid[0]),
      .float_data_o         (float_data[0]),
      .port_valid_i         (port_valid),
      .port_ready_o         (port_ready),
      .port_request_i       (port_request),
      .port_answer_o        (near_answer),
      .port_data_o          (near_port_data),
      .near_core_o          (near_core[core]),
      .near_core_granted_i  (near_core_granted[core]),
      .near_core_data_i     (near_core_data[core]),
      .near_float_o         (near_float[core]),
      .near_float_granted_i (near_float_granted[core]),
      .near_float_data_i    (near_float_data[core]),
      .near_vector_o        (near_vector[core]),
      .near_vector_granted_i(near_vector_granted[core]),
      .near_vector_data_i   (near_vector_data[core]),
      .register_o           (register_request[core]),
      .register_number_o    (register_number[core]),
      .register_answer_i    (register_answer[core]),
      .register_data_i      (register_data[core]),
      .far_valid_o          (far_valid_o[core]),
      .far_ready_i          (far_ready_i[core]),
      .far_port_valid_o     (far_port_valid_o[core]),
      .far_port_ready_i     (far_port_ready_i[core]),
      .far_port_answer_i    (far_port_answer_i[core])
    );

    assign request_taken_o[core] = valid & ready;
    assign answer_valid          = near_valid | far_answer_i[core][0];
    assign answer_data           = near_valid ? near_data : far_data_i[core][0];
    assign float_valid[1]        = far_answer_i[core][1];
    assign float_data[1]         = far_data_i[core][1];
    assign port_answer           = near_answer | far_port_answer_i[core];
    for (genvar port = 0; port < VectorPorts; port++) begin : gen_answer
      assign port_answer_data[port] = near_answer[port] ? near_port_data[port] : far_port_data_i[core][port];
    end

    logic unused_core;
    assign unused_core = ^{port_id, far_write.write, dma_valid[core], dma_order[core]};

    `POTLUCK_ASSERT(OneAnswer, !(near_valid && far_answer_i[core][0]))
  end

endmodule
