// The scalar core, the FP sequencer and the arithmetic of atomic accesses, with ports that are plain numbers.
module core_tile
  import potluck_isa_pkg::*;
  import core_pkg::*;
#(
  parameter int unsigned VlenBytes     = 64,
  parameter int unsigned Multiply      = 3,
  parameter int unsigned Divide        = 32,
  parameter int unsigned BranchTaken   = 0,
  parameter int unsigned Jump          = 0,
  parameter int unsigned FenceI        = 10,
  parameter int unsigned FloatResult   = 1,
  parameter bit          HasVector     = 1'b0,
  parameter bit          HasDma        = 1'b0
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [63:0] hart_i,
  input  logic [63:0] harts_i,
  input  logic [63:0] entry_i,
  input  logic [63:0] l1_begin_i,
  input  logic [63:0] l1_bytes_i,
  input  logic [63:0] dram_begin_i,
  input  logic [63:0] dram_bytes_i,
  input  logic [63:0] dram_writable_i,  // the first address that is written, behind the program's text
  input  logic [63:0] registers_begin_i,

  output logic [63:0] fetch_address_o,
  input  logic        fetch_valid_i,
  input  logic        fetch_fault_i,
  input  logic [31:0] fetch_data_i,
  output logic        fetch_anew_o,

  // Accesses of the core (bit 0) and of the FP sequencer (bit 1), whose request is the earlier one in a cycle.
  output logic [1:0]       request_valid_o,
  input  logic [1:0]       request_ready_i,
  output logic [1:0]       request_write_o,
  output logic             request_atomic_o,  // of the core
  output logic [$bits(op_e)-1:0] request_op_o,   // of the core
  output logic [1:0]       request_in_dram_o,
  output logic [1:0][1:0]  request_size_o,
  output logic [1:0][63:0] request_address_o,
  output logic [1:0][7:0]  request_strobe_o,
  output logic [1:0][63:0] request_data_o,
  input  logic             answer_valid_i,
  input  logic [63:0]      answer_data_i,
  input  logic [1:0]       float_valid_i,     // of L1 (bit 0) and of DRAM
  input  logic [1:0][63:0] float_data_i,

  // At the memory: what an atomic access of this cycle leaves there.
  input  logic [63:0] atomic_old_i,
  output logic [63:0] atomic_new_o,

  // The vector unit.
  output logic        vector_valid_o,
  input  logic        vector_ready_i,
  output logic [31:0] vector_word_o,
  output logic [$bits(op_e)-1:0] vector_op_o,
  output logic [63:0] vector_pc_o,
  output logic [1:0]  vector_vxrm_o,
  output logic        vector_partway_o,
  output logic [63:0] vector_a_o,
  output logic [63:0] vector_b_o,
  output logic [63:0] vector_fs1_o,
  output logic [63:0] vector_fs2_o,
  output logic [63:0] vector_fs3_o,
  output logic [13:0] vector_fcsr_o,
  input  logic        vector_idle_i,
  input  logic        vector_loads_i,
  input  logic        vector_stores_i,
  input  logic [1:0]       vector_write_i,    // a result for x (bit 0), for f (bit 1)
  input  logic [1:0][4:0]  vector_register_i,
  input  logic [1:0][63:0] vector_value_i,
  input  logic [4:0]  vector_flags_i,
  input  logic        vector_saturated_i,
  input  logic        vector_illegal_i,
  input  logic [63:0] vector_illegal_pc_i,
  input  logic [63:0] vl_i,
  input  logic [63:0] vtype_i,

  // The DMA's instructions.
  output logic        dma_valid_o,
  input  logic        dma_ready_i,
  output logic [$bits(op_e)-1:0] dma_op_o,
  output logic [4:0]  dma_selector_o,
  output logic [63:0] dma_a_o,
  output logic [63:0] dma_b_o,
  input  logic [63:0] dma_result_i,
  input  logic        dma_idle_i,
  input  logic        dma_own_i,

  // Retired instructions, writes to the registers, and the end.
  output logic        trap_o,
  output logic [3:0]  trap_cause_o,
  output logic [63:0] trap_pc_o,
  output logic [63:0] trap_address_o,
  output logic        retired_o,
  output logic [63:0] retired_pc_o,
  output logic [31:0] retired_word_o,
  output logic [6:0]  retired_writes_o,       // bit 6: a register is written, bit 5: it is an FP register
  output logic        retired_float_store_o,
  output logic [13:0] retired_fcsr_o,
  output logic [IntegerWritePorts-1:0]       x_write_o,
  output logic [IntegerWritePorts-1:0][4:0]  x_register_o,
  output logic [IntegerWritePorts-1:0][63:0] x_value_o,
  output logic [FloatWritePorts-1:0]         f_write_o,
  output logic [FloatWritePorts-1:0][4:0]    f_register_o,
  output logic [FloatWritePorts-1:0][63:0]   f_value_o
);

  request_t integer_request, float_request;
  offload_t offload, vector;
  logic offload_valid, offload_ready, offload_idle, offload_loads, offload_stores;
  write_t move;
  trap_t trap;
  retired_t retired;
  dma_order_t dma;
  write_t [IntegerWritePorts-1:0] x_writes;
  write_t [FloatWritePorts-1:0] f_writes;

  scalar_core #(
    .VlenBytes(VlenBytes),
    .Multiply(Multiply),
    .Divide(Divide),
    .BranchTaken(BranchTaken),
    .Jump(Jump),
    .FenceI(FenceI),
    .HasVector(HasVector),
    .HasDma(HasDma)
  ) u_core (
    .clk_i,
    .rst_ni,
    .hart_i,
    .harts_i,
    .entry_i,
    .map_i           ('{l1_begin: l1_begin_i, l1_bytes: l1_bytes_i, dram_begin: dram_begin_i, dram_bytes: dram_bytes_i,
                       dram_writable: dram_writable_i, registers_begin: registers_begin_i}),
    .fetch_address_o,
    .fetch_valid_i,
    .fetch_fault_i,
    .fetch_data_i,
    .fetch_anew_o,
    .request_o       (integer_request),
    .request_ready_i (request_ready_i[0]),
    .answer_valid_i,
    .answer_data_i,
    .offload_valid_o (offload_valid),
    .offload_ready_i (offload_ready),
    .offload_o       (offload),
    .offload_idle_i  (offload_idle & vector_idle_i),
    .offload_loads_i (offload_loads),
    .offload_stores_i(offload_stores),
    .move_i          (move),
    .vector_i        ('{valid: vector_write_i[0], register_number: vector_register_i[0], value: vector_value_i[0]}),
    .flags_i         (vector_flags_i),
    .saturated_i     (vector_saturated_i),
    .illegal_i       (vector_illegal_i),
    .illegal_pc_i    (vector_illegal_pc_i),
    .vl_i,
    .vtype_i,
    .dma_valid_o,
    .dma_ready_i,
    .dma_o           (dma),
    .dma_result_i,
    .dma_idle_i,
    .dma_own_i,
    .trap_o          (trap),
    .retired_o       (retired),
    .writes_o        (x_writes)
  );

  fp_sequencer #(
    .ResultLatency(FloatResult)
  ) u_sequencer (
    .clk_i,
    .rst_ni,
    .offload_valid_i(offload_valid),
    .offload_ready_o(offload_ready),
    .offload_i      (offload),
    .idle_o         (offload_idle),
    .loads_o        (offload_loads),
    .stores_o       (offload_stores),
    .vector_valid_o,
    .vector_ready_i,
    .vector_o       (vector),
    .vector_fs1_o,
    .vector_fs2_o,
    .vector_fs3_o,
    .vector_float_i ('{valid: vector_write_i[1], register_number: vector_register_i[1], value: vector_value_i[1]}),
    .vector_loads_i,
    .vector_stores_i,
    .request_o      (float_request),
    .request_ready_i(request_ready_i[1]),
    .near_valid_i   (float_valid_i[0]),
    .near_data_i    (float_data_i[0]),
    .far_valid_i    (float_valid_i[1]),
    .far_data_i     (float_data_i[1]),
    .integer_o      (move),
    .writes_o       (f_writes)
  );

  amo_alu u_amo (
    .op_i     (integer_request.op),
    .word_i   (integer_request.size == 2'd2),
    .upper_i  (integer_request.address[2]),
    .old_i    (atomic_old_i),
    .operand_i(integer_request.data),
    .new_o    (atomic_new_o)
  );

  assign request_valid_o   = {float_request.valid, integer_request.valid};
  assign request_write_o   = {float_request.write, integer_request.write};
  assign request_atomic_o  = integer_request.atomic;
  assign request_op_o      = integer_request.op;
  assign request_in_dram_o     = {float_request.in_dram, integer_request.in_dram};
  assign request_size_o    = {float_request.size, integer_request.size};
  assign request_address_o = {float_request.address, integer_request.address};
  assign request_strobe_o  = {float_request.strobe, integer_request.strobe};
  assign request_data_o    = {float_request.data, integer_request.data};

  assign vector_word_o = vector.word;
  assign vector_op_o   = vector.op;
  assign vector_pc_o   = vector.pc;
  assign vector_vxrm_o = vector.vxrm;
  assign vector_partway_o = vector.partway;
  assign vector_a_o    = vector.a;
  assign vector_b_o    = vector.b;
  assign vector_fcsr_o = retired.fcsr;

  assign dma_op_o       = dma.op;
  assign dma_selector_o = dma.selector;
  assign dma_a_o        = dma.a;
  assign dma_b_o        = dma.b;

  assign trap_o           = trap.valid;
  assign trap_cause_o     = trap.cause;
  assign trap_pc_o        = trap.pc;
  assign trap_address_o   = trap.address;
  assign retired_o        = retired.valid;
  assign retired_pc_o     = retired.pc;
  assign retired_word_o   = retired.word;
  assign retired_writes_o = {retired.writes, retired.writes_float, retired.destination};
  assign retired_float_store_o = retired.float_store;
  assign retired_fcsr_o   = retired.fcsr;

  for (genvar port = 0; port < IntegerWritePorts; port++) begin : gen_integer
    assign x_write_o[port]    = x_writes[port].valid;
    assign x_register_o[port] = x_writes[port].register_number;
    assign x_value_o[port]    = x_writes[port].value;
  end
  for (genvar port = 0; port < FloatWritePorts; port++) begin : gen_float
    assign f_write_o[port]    = f_writes[port].valid;
    assign f_register_o[port] = f_writes[port].register_number;
    assign f_value_o[port]    = f_writes[port].value;
  end

  // What only a vector unit with decoded operands would look at; both requests are told apart by their ports.
  logic unused;
  assign unused = ^{vector.facts, vector.in_dram, vector.rd, vector.fd, vector.fs1, vector.fs2, vector.fs3,
                    float_request.op, float_request.atomic};

endmodule
