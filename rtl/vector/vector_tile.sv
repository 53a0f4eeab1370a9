// The tile with a vector unit: scalar core, FP sequencer, vector unit, with ports that are plain numbers.
module vector_tile
  import potluck_isa_pkg::*;
  import core_pkg::*;
  import vector_unit_pkg::*;
#(
  parameter int unsigned VlenBytes     = 64,
  parameter int unsigned Multiply      = 3,
  parameter int unsigned Divide        = 32,
  parameter int unsigned BranchTaken   = 0,
  parameter int unsigned Jump          = 0,
  parameter int unsigned FenceI        = 10,
  parameter int unsigned FloatResult   = 1,
  parameter bit          HasDma        = 1'b0,
  parameter bit          Chaining       = 1'b1,
  parameter int unsigned QueueDepth     = 2,
  parameter int unsigned IntegerLatency = 2,
  parameter int unsigned FmaLatency     = 3,
  parameter int unsigned NoncompLatency = 2,
  parameter int unsigned ConvertLatency = 3,
  parameter int unsigned MxdotpLatency  = 4,
  parameter int unsigned DivideCycles   = 8  // an element, in each lane
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
  output logic [FloatWritePorts-1:0][63:0]   f_value_o,

  // Accesses of the vector unit, aligned words of eight bytes; each port is answered in order.
  output logic [Ports-1:0]       port_valid_o,
  output logic                   port_write_o,
  output logic [Ports-1:0][63:0] port_address_o,
  output logic [Ports-1:0][7:0]  port_strobe_o,
  output logic [Ports-1:0][63:0] port_data_o,
  input  logic [Ports-1:0]       port_ready_i,
  input  logic [Ports-1:0]       port_answer_i,
  input  logic [Ports-1:0][63:0] port_answer_data_i,

  // What the vector unit does, by the ids of its instructions: issues, writes of register file words, flags.
  output logic                   issued_o,
  output logic [1:0]             issued_id_o,
  output logic [63:0]            issued_pc_o,
  output logic [2:0]             wrote_o,
  output logic [2:0][7:0]        wrote_id_o,
  output logic [2:0][7:0]        wrote_word_o,
  output logic [2:0][31:0]       wrote_strobe_o,
  output logic [2:0][255:0]      wrote_data_o,
  output logic [5:0]             raised_o,      // flags and saturation of raised_id_o
  output logic [1:0]             raised_id_o,
  output logic [1:0]             port_id_o
);

  logic valid, ready, partway, idle, loads, stores, saturated, illegal;
  logic [31:0] word;
  logic [$bits(op_e)-1:0] op;
  logic [63:0] pc, a, b, fs1, fs2, fs3, vl, vtype, illegal_pc;
  logic [1:0] vxrm;
  logic [13:0] fcsr;
  logic [4:0] flags;
  scalar_t integer_result, float_result;
  vrf_write_t [2:0] writes;

  core_tile #(
    .VlenBytes(VlenBytes),
    .Multiply(Multiply),
    .Divide(Divide),
    .BranchTaken(BranchTaken),
    .Jump(Jump),
    .FenceI(FenceI),
    .FloatResult(FloatResult),
    .HasVector(1'b1),
    .HasDma(HasDma)
  ) u_core (
    .clk_i,
    .rst_ni,
    .hart_i,
    .harts_i,
    .entry_i,
    .l1_begin_i,
    .l1_bytes_i,
    .dram_begin_i,
    .dram_bytes_i,
    .dram_writable_i,
    .registers_begin_i,
    .fetch_address_o,
    .fetch_valid_i,
    .fetch_fault_i,
    .fetch_data_i,
    .fetch_anew_o,
    .request_valid_o,
    .request_ready_i,
    .request_write_o,
    .request_atomic_o,
    .request_op_o,
    .request_in_dram_o,
    .request_size_o,
    .request_address_o,
    .request_strobe_o,
    .request_data_o,
    .answer_valid_i,
    .answer_data_i,
    .float_valid_i,
    .float_data_i,
    .atomic_old_i,
    .atomic_new_o,
    .trap_o,
    .trap_cause_o,
    .trap_pc_o,
    .trap_address_o,
    .retired_o,
    .retired_pc_o,
    .retired_word_o,
    .retired_writes_o,
    .retired_float_store_o,
    .retired_fcsr_o,
    .x_write_o,
    .x_register_o,
    .x_value_o,
    .f_write_o,
    .f_register_o,
    .f_value_o,
    .vector_valid_o     (valid),
    .vector_ready_i     (ready),
    .vector_word_o      (word),
    .vector_op_o        (op),
    .vector_pc_o        (pc),
    .vector_vxrm_o      (vxrm),
    .vector_partway_o   (partway),
    .vector_a_o         (a),
    .vector_b_o         (b),
    .vector_fs1_o       (fs1),
    .vector_fs2_o       (fs2),
    .vector_fs3_o       (fs3),
    .vector_fcsr_o      (fcsr),
    .vector_idle_i      (idle),
    .vector_loads_i     (loads),
    .vector_stores_i    (stores),
    .vector_write_i     ({float_result.valid, integer_result.valid}),
    .vector_register_i  ({float_result.register_number, integer_result.register_number}),
    .vector_value_i     ({float_result.value, integer_result.value}),
    .vector_flags_i     (flags),
    .vector_saturated_i (saturated),
    .vector_illegal_i   (illegal),
    .vector_illegal_pc_i(illegal_pc),
    .vl_i               (vl),
    .vtype_i            (vtype),
    .dma_valid_o,
    .dma_ready_i,
    .dma_op_o,
    .dma_selector_o,
    .dma_a_o,
    .dma_b_o,
    .dma_result_i,
    .dma_idle_i,
    .dma_own_i
  );

  vector_unit #(
    .QueueDepth    (QueueDepth),
    .Chaining      (Chaining),
    .IntegerLatency(IntegerLatency),
    .FmaLatency    (FmaLatency),
    .NoncompLatency(NoncompLatency),
    .ConvertLatency(ConvertLatency),
    .MxdotpLatency (MxdotpLatency),
    .DivideCycles  (DivideCycles)
  ) u_vector (
    .clk_i,
    .rst_ni,
    .valid_i       (valid),
    .ready_o       (ready),
    .word_i        (word),
    .op_i          (op_e'(op)),
    .pc_i          (pc),
    .a_i           (a),
    .b_i           (b),
    .fs1_i         (fs1),
    .fs2_i         (fs2),
    .fs3_i         (fs3),
    .fcsr_i        (fcsr),
    .vxrm_i        (vxrm),
    .partway_i     (partway),
    .idle_o        (idle),
    .loads_o       (loads),
    .stores_o      (stores),
    .integer_o     (integer_result),
    .float_o       (float_result),
    .flags_o       (flags),
    .saturated_o   (saturated),
    .vl_o          (vl),
    .vtype_o       (vtype),
    .illegal_o     (illegal),
    .illegal_pc_o  (illegal_pc),
    .request_o     (port_valid_o),
    .request_write_o(port_write_o),
    .address_o     (port_address_o),
    .strobe_o      (port_strobe_o),
    .data_o        (port_data_o),
    .ready_i       (port_ready_i),
    .answer_valid_i(port_answer_i),
    .answer_data_i (port_answer_data_i),
    .issued_o,
    .issued_id_o,
    .issued_pc_o,
    .writes_o      (writes),
    .flags_id_o    (raised_id_o),
    .request_id_o  (port_id_o)
  );

  assign raised_o = {saturated, flags};
  for (genvar writer = 0; writer < 3; writer++) begin : gen_writes
    assign wrote_o[writer]        = writes[writer].valid;
    assign wrote_id_o[writer]     = 8'(writes[writer].id);
    assign wrote_word_o[writer]   = 8'(writes[writer].word);
    assign wrote_strobe_o[writer] = writes[writer].strobe;
    assign wrote_data_o[writer]   = writes[writer].data;
  end

endmodule
