// An in-order RV64IMAC core that issues one instruction a cycle, after Snitch: fetch, decode and execution are one stage,
// results of loads, products, quotients and offloaded instructions come later, and an instruction waits for the registers
// that it names, its destination included. FP and vector instructions go to the FP sequencer.
`include "assertions.svh"

module scalar_core
  import potluck_isa_pkg::*;
  import potluck_core_pkg::*;
  import core_pkg::*;
#(
  parameter int unsigned VlenBytes     = 64,
  parameter int unsigned Multiply      = 3,     // cycles from an instruction to the one that needs its result
  parameter int unsigned Divide        = 32,
  parameter int unsigned BranchTaken   = 0,     // cycles in which nothing is issued behind it
  parameter int unsigned Jump          = 0,
  parameter int unsigned FenceI        = 10,
  parameter bit          HasVector     = 1'b0,  // what the sequencer does not execute is illegal without a vector unit
  parameter bit          HasDma        = 1'b0
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [63:0] hart_i,
  input  logic [63:0] harts_i,
  input  logic [63:0] entry_i,
  input  memory_map_t map_i,

  // Instructions, from any even address, in the same cycle.
  output logic [63:0] fetch_address_o,
  input  logic        fetch_valid_i,
  input  logic        fetch_fault_i,
  input  logic [31:0] fetch_data_i,
  output logic        fetch_anew_o,      // fence.i: what was fetched before is forgotten

  output request_t    request_o,
  input  logic        request_ready_i,
  input  logic        answer_valid_i,
  input  logic [63:0] answer_data_i,

  output logic        offload_valid_o,
  input  logic        offload_ready_i,
  output offload_t    offload_o,
  input  logic        offload_idle_i,    // nothing offloaded is under way
  input  logic        offload_loads_i,   // accesses that ours may not overtake
  input  logic        offload_stores_i,
  input  write_t      move_i,            // results
  input  write_t      vector_i,
  input  logic [4:0]  flags_i,
  input  logic        saturated_i,
  input  logic        illegal_i,         // the vector unit has met an illegal instruction, at illegal_pc_i
  input  logic [63:0] illegal_pc_i,
  input  logic [63:0] vl_i,
  input  logic [63:0] vtype_i,

  // The DMA's instructions, which it answers in the cycle in which it takes them.
  output logic        dma_valid_o,
  input  logic        dma_ready_i,
  output dma_order_t  dma_o,
  input  logic [63:0] dma_result_i,
  input  logic        dma_idle_i,
  input  logic        dma_own_i,         // it is this hart that asks for transfers

  output trap_t       trap_o,            // the core has stopped; asynchronous results may still come
  output retired_t    retired_o,
  output write_t [IntegerWritePorts-1:0] writes_o
);

  localparam int unsigned MostBubbles = (FenceI > BranchTaken) ? ((FenceI > Jump) ? FenceI : Jump)
                                                               : ((BranchTaken > Jump) ? BranchTaken : Jump);
  localparam int unsigned BubbleWidth = $clog2(MostBubbles + 2);

  logic [63:0] pc_q, pc_d, next_pc;
  logic [BubbleWidth-1:0] bubbles_q, bubbles_d;
  trap_t trap_q, trap_d;
  logic started_q;  // a0 and a1 hold the hart's number and their count

  // Decode.
  logic compressed, fetched;
  logic [31:0] expanded, word;
  op_e op;
  facts_t facts_of_op;
  logic [4:0] rd, rs1, rs2;

  isa_expander u_expander (
    .parcel_i(fetch_data_i[15:0]),
    .word_o  (expanded)
  );

  assign compressed  = fetch_data_i[1:0] != 2'b11;
  assign word        = compressed ? expanded : fetch_data_i;
  assign op          = decode(word);
  assign facts_of_op = facts(op);
  assign rd          = get_rd_11_7(word);
  assign rs1         = get_rs1_19_15(word);
  assign rs2         = get_rs2_24_20(word);
  assign fetched     = started_q & ~trap_q.valid & (bubbles_q == '0) & fetch_valid_i;
  assign next_pc     = pc_q + (compressed ? 64'd2 : 64'd4);

  // Registers.
  logic [31:0] busy;
  logic [63:0] a, b;
  logic claims, registers_free;
  write_t [IntegerWritePorts-1:0] writes;

  core_registers #(
    .ReadPorts (2),
    .WritePorts(IntegerWritePorts)
  ) u_registers (
    .clk_i,
    .rst_ni,
    .read_i   ({rs2, rs1}),
    .value_o  ({b, a}),
    .busy_o   (busy),
    .claim_i  (claims),
    .claimed_i(rd),
    .write_i  (writes)
  );

  assign registers_free = ~((facts_of_op.rd & busy[rd]) | (facts_of_op.rs1 & busy[rs1]) |
                            (facts_of_op.rs2 & busy[rs2]));

  // Operands and execution in one cycle.
  logic [63:0] immediate, second, address, result, link, csr_old;
  logic taken, is_store_format;

  assign is_store_format = facts_of_op.route == ROUTE_STORE || facts_of_op.route == ROUTE_FLOAT_STORE;

  always_comb begin
    case (op)
      OP_LUI, OP_AUIPC: immediate = 64'(get_imm_31_12_to_12(word));
      OP_SLLI, OP_SRLI, OP_SRAI: immediate = {58'd0, get_shamt_25_20(word)};
      OP_SLLIW, OP_SRLIW, OP_SRAIW: immediate = {59'd0, get_shamt_24_20(word)};
      default: begin
        immediate = 64'(get_imm_31_20(word));
        if (is_store_format) immediate = 64'(get_imm_31_25_11_7(word));
        if (facts_of_op.route == ROUTE_ATOMIC) immediate = '0;
      end
    endcase
  end

  assign second  = facts_of_op.rs2 ? b : immediate;
  assign address = a + immediate;

  core_alu u_alu (
    .op_i    (op),
    .word_i  (facts_of_op.size == 2'd2),
    .a_i     (a),
    .b_i     (second),
    .pc_i    (pc_q),
    .result_o(result),
    .taken_o (taken)
  );

  // What an instruction is, and what keeps it.
  logic is_access, is_read, is_write, is_offload, is_dma, is_csr, is_jump, unknown, csr_illegal, csr_drains, csr_immediate;
  logic misaligned, access_fault, in_dram;
  logic traps, may_leave, lsu_valid, lsu_taken, divider_ready, leaves;

  always_comb begin
    is_read    = 1'b0;
    is_write   = 1'b0;
    is_offload = 1'b0;
    is_dma     = 1'b0;
    unknown    = 1'b0;
    case (facts_of_op.route)
      ROUTE_LOAD:        is_read = 1'b1;
      ROUTE_STORE:       is_write = 1'b1;
      ROUTE_ATOMIC: begin
        is_read  = 1'b1;
        is_write = 1'b1;
      end
      ROUTE_FLOAT_LOAD, ROUTE_FLOAT_STORE, ROUTE_MOVE: is_offload = 1'b1;
      ROUTE_FLOAT, ROUTE_VSET, ROUTE_VECTOR, ROUTE_VECTOR_LOAD, ROUTE_VECTOR_STORE: begin
        is_offload = 1'b1;
        unknown    = ~HasVector;
      end
      ROUTE_DMA: begin
        is_dma  = 1'b1;
        unknown = ~HasDma | (op == OP_DMCPYI && !dma_own_i);
      end
      ROUTE_NONE: unknown = 1'b1;
      default: ;
    endcase
  end
  assign is_csr        = facts_of_op.route == ROUTE_CSR;
  assign is_jump       = facts_of_op.route == ROUTE_JUMP;
  assign is_access     = is_read | is_write;
  assign csr_immediate = op == OP_CSRRWI || op == OP_CSRRSI || op == OP_CSRRCI;

  access_check u_check (
    .map_i,
    .address_i   (address),
    .size_i      (facts_of_op.size),
    .write_i     (facts_of_op.route == ROUTE_FLOAT_STORE || (is_write && op != OP_LR_W && op != OP_LR_D)),
    .registers_i (facts_of_op.route == ROUTE_LOAD),
    .misaligned_o(misaligned),
    .fault_o     (access_fault),
    .in_dram_o   (in_dram)
  );

  logic [1:0] vxrm;
  logic partway;

  core_csrs #(
    .VlenBytes(VlenBytes),
    .HasVector(HasVector)
  ) u_csrs (
    .clk_i,
    .rst_ni,
    .hart_i,
    .vl_i,
    .vtype_i,
    .running_i    (started_q),
    .instruction_i(leaves),
    .op_i         (op),
    .number_i     (get_csr_31_20(word)),
    .no_write_i   (rs1 == '0),
    .source_i     (csr_immediate ? {59'd0, rs1} : a),
    .access_i     (leaves & is_csr),
    .illegal_o    (csr_illegal),
    .drains_o     (csr_drains),
    .old_o        (csr_old),
    .flags_i,
    .saturated_i,
    .fcsr_o       (retired_o.fcsr),
    .vxrm_o       (vxrm),
    .partway_o    (partway)
  );

  // Traps: the first reason that holds, for an access when its address is known.
  logic float_access;
  assign float_access = facts_of_op.route == ROUTE_FLOAT_LOAD || facts_of_op.route == ROUTE_FLOAT_STORE;

  always_comb begin
    trap_d = trap_q;
    traps  = 1'b0;
    if (fetched) begin
      traps = 1'b1;
      if (fetch_fault_i) trap_d.cause = FetchFault;
      else if (unknown || (is_csr && csr_illegal)) trap_d.cause = IllegalWord;
      else if (facts_of_op.route == ROUTE_ECALL) trap_d.cause = EnvironmentCall;
      else if (facts_of_op.route == ROUTE_EBREAK) trap_d.cause = Breakpoint;
      else if ((is_access || float_access) && registers_free && misaligned) begin
        trap_d.cause = (is_write || facts_of_op.route == ROUTE_FLOAT_STORE) ? StoreMisaligned : LoadMisaligned;
      end else if ((is_access || float_access) && registers_free && access_fault) begin
        trap_d.cause = (is_write || facts_of_op.route == ROUTE_FLOAT_STORE) ? StoreFault : LoadFault;
      end else traps = 1'b0;
    end
    if (illegal_i && !trap_q.valid) begin
      trap_d = '{valid: 1'b1, cause: IllegalWord, pc: illegal_pc_i, address: '0};
      traps  = 1'b1;
    end else if (traps) begin
      trap_d.valid   = 1'b1;
      trap_d.pc      = pc_q;
      trap_d.address = address;
    end
  end

  always_comb begin
    may_leave = fetched & ~traps & registers_free;
    // An access of ours may not overtake what the sequencer or the vector unit still has to ask of memory.
    if ((is_access || facts_of_op.route == ROUTE_FENCE_I) && offload_stores_i) may_leave = 1'b0;
    if ((is_write || facts_of_op.route == ROUTE_FENCE_I) && offload_loads_i) may_leave = 1'b0;
    if (is_csr && csr_drains && !offload_idle_i) may_leave = 1'b0;
    if (facts_of_op.route == ROUTE_DIVIDE && !divider_ready) may_leave = 1'b0;
    if (facts_of_op.route == ROUTE_WFI && !dma_idle_i) may_leave = 1'b0;
  end

  assign lsu_valid       = may_leave & is_access;
  assign offload_valid_o = may_leave & is_offload;
  assign dma_valid_o     = may_leave & is_dma;
  assign dma_o           = '{op: op, selector: word[24:20], a: a, b: b};

  always_comb begin
    leaves = may_leave;
    if (is_access) leaves = lsu_taken;
    if (is_offload) leaves = offload_valid_o & offload_ready_i;
    if (is_dma) leaves = dma_valid_o & dma_ready_i;
  end

  core_lsu u_lsu (
    .clk_i,
    .rst_ni,
    .valid_i        (lsu_valid),
    .taken_o        (lsu_taken),
    .op_i           (op),
    .route_i        (facts_of_op.route),
    .size_i         (facts_of_op.size),
    .zero_extended_i(facts_of_op.zero_extended),
    .in_dram_i      (in_dram),
    .register_i     (rd),
    .address_i      (address),
    .data_i         (b),
    .request_o,
    .request_ready_i,
    .answer_valid_i,
    .answer_data_i,
    .result_o       (writes[1])
  );

  core_multiplier #(
    .Latency(Multiply)
  ) u_multiplier (
    .clk_i,
    .rst_ni,
    .valid_i   (leaves && facts_of_op.route == ROUTE_MULTIPLY),
    .op_i      (op),
    .word_i    (facts_of_op.size == 2'd2),
    .register_i(rd),
    .a_i       (a),
    .b_i       (b),
    .result_o  (writes[2])
  );

  core_divider #(
    .Latency(Divide)
  ) u_divider (
    .clk_i,
    .rst_ni,
    .valid_i   (leaves && facts_of_op.route == ROUTE_DIVIDE),
    .ready_o   (divider_ready),
    .op_i      (op),
    .word_i    (facts_of_op.size == 2'd2),
    .register_i(rd),
    .a_i       (a),
    .b_i       (b),
    .result_o  (writes[3])
  );

  always_comb begin
    offload_o       = '0;
    offload_o.word  = word;
    offload_o.op    = op;
    offload_o.facts = facts_of_op;
    offload_o.pc    = pc_q;
    offload_o.vxrm  = vxrm;
    offload_o.partway = partway;
    offload_o.in_dram = in_dram;
    offload_o.rd    = rd;
    offload_o.fd    = get_fd_11_7(word);
    offload_o.fs1   = get_fs1_19_15(word);
    offload_o.fs2   = get_fs2_24_20(word);
    offload_o.fs3   = get_fs3_31_27(word);
    offload_o.a     = float_access ? address : a;
    offload_o.b     = b;
  end

  // Results of this cycle, and before the first instruction the two arguments.
  logic now;
  assign now  = leaves & facts_of_op.rd &
                (facts_of_op.route == ROUTE_ALU || is_jump || is_csr || is_dma);
  assign link = next_pc;

  always_comb begin
    writes[0] = '{valid: now, register_number: rd, value: result};
    if (is_jump) writes[0].value = link;
    if (is_csr) writes[0].value = csr_old;
    if (is_dma) writes[0].value = dma_result_i;
    if (!started_q) writes[0] = '{valid: 1'b1, register_number: 5'd10, value: hart_i};
    writes[4] = started_q ? move_i : '{valid: 1'b1, register_number: 5'd11, value: harts_i};
    writes[5] = vector_i;
  end
  assign writes_o = writes;
  assign claims   = leaves & facts_of_op.rd & ~now;

  // The next instruction.
  always_comb begin
    pc_d      = pc_q;
    bubbles_d = (bubbles_q == '0) ? '0 : bubbles_q - BubbleWidth'(1);
    if (!started_q) pc_d = entry_i;
    if (leaves) begin
      pc_d = next_pc;
      if (taken) begin
        pc_d      = pc_q + 64'(get_off_31_31_30_25_11_8_7_7_to_12_5_1_11(word));
        bubbles_d = BubbleWidth'(BranchTaken);
      end
      if (is_jump) begin
        pc_d = (op == OP_JAL) ? pc_q + 64'(get_off_31_31_30_21_20_20_19_12_to_20_1_11_12(word))
                              : {address[63:1], 1'b0};
        bubbles_d = BubbleWidth'(Jump);
      end
      if (facts_of_op.route == ROUTE_FENCE_I) bubbles_d = BubbleWidth'(FenceI);
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      pc_q      <= '0;
      bubbles_q <= '0;
      trap_q    <= '0;
      started_q <= 1'b0;
    end else begin
      pc_q      <= pc_d;
      bubbles_q <= bubbles_d;
      trap_q    <= trap_d;
      started_q <= 1'b1;
    end
  end

  assign fetch_address_o = pc_q;
  assign fetch_anew_o    = leaves && facts_of_op.route == ROUTE_FENCE_I;
  assign trap_o          = trap_q;

  assign retired_o.valid        = leaves;
  assign retired_o.pc           = pc_q;
  assign retired_o.word         = compressed ? {16'd0, fetch_data_i[15:0]} : fetch_data_i;
  assign retired_o.writes       = (facts_of_op.rd & (rd != '0)) | facts_of_op.fd;
  assign retired_o.writes_float = facts_of_op.fd;
  assign retired_o.destination  = rd;
  assign retired_o.float_store  = facts_of_op.route == ROUTE_FLOAT_STORE;

  `POTLUCK_ASSERT(EvenFetch, !pc_q[0])

endmodule
