// The vector unit behind the core's offload port: controller, scoreboard, register file, and the units for arithmetic, memory
// and moves.
//
// The controller holds one instruction, which may leave in the cycle in which it comes, one a cycle in order: a vset here, any
// other to its unit, if an id is free and the unit's queue has room. An illegal one stops it for good.
`include "assertions.svh"

module vector_unit
  import potluck_isa_pkg::*;
  import potluck_vector_control_pkg::*;
  import fp_pkg::*;
  import vector_unit_pkg::*;
#(
  parameter int unsigned QueueDepth     = 2,
  parameter bit          Chaining       = 1'b1,
  parameter int unsigned IntegerLatency = 2,
  parameter int unsigned FmaLatency     = 3,
  parameter int unsigned NoncompLatency = 2,
  parameter int unsigned ConvertLatency = 3,
  parameter int unsigned MxdotpLatency  = 4,
  parameter int unsigned DivideCycles   = 8  // an element, in each lane
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        valid_i,
  output logic        ready_o,
  input  logic [31:0] word_i,
  input  op_e         op_i,
  input  logic [63:0] pc_i,
  input  logic [63:0] a_i,
  input  logic [63:0] b_i,
  input  logic [63:0] fs1_i,
  input  logic [63:0] fs2_i,
  input  logic [63:0] fs3_i,
  input  logic [13:0] fcsr_i,
  input  logic [1:0]  vxrm_i,
  input  logic        partway_i,

  output logic        idle_o,
  output logic        loads_o,
  output logic        stores_o,
  output scalar_t     integer_o,
  output scalar_t     float_o,
  output fflags_t     flags_o,
  output logic        saturated_o,
  output logic [63:0] vl_o,
  output logic [63:0] vtype_o,
  output logic        illegal_o,     // from then on
  output logic [63:0] illegal_pc_o,

  output logic [Ports-1:0]       request_o,
  output logic                   request_write_o,
  output logic [Ports-1:0][63:0] address_o,
  output logic [Ports-1:0][7:0]  strobe_o,
  output logic [Ports-1:0][63:0] data_o,
  input  logic [Ports-1:0]       ready_i,
  input  logic [Ports-1:0]       answer_valid_i,
  input  logic [Ports-1:0][63:0] answer_data_i,

  // For whoever watches: instructions that are issued, writes, flags, in the terms of their ids.
  output logic             issued_o,
  output id_t              issued_id_o,
  output logic [63:0]      issued_pc_o,
  output vrf_write_t [2:0] writes_o,
  output id_t              flags_id_o,
  output id_t              request_id_o
);

  // The controller's instruction ---------------------------------------------------------------------------------------
  typedef struct packed {
    logic [31:0] word;
    op_e         op;
    logic [63:0] pc;
    logic [63:0] a;
    logic [63:0] b;
    logic [63:0] fs1;
    logic [63:0] fs2;
    logic [63:0] fs3;
    logic [13:0] fcsr;
    logic [1:0]  vxrm;
    logic        partway;
  } request_t;

  request_t given, head, held_q;
  logic held_valid_q, has_head, leaves, stopped_q;
  logic [63:0] stopped_pc_q;

  assign given    = '{word_i, op_i, pc_i, a_i, b_i, fs1_i, fs2_i, fs3_i, fcsr_i, vxrm_i, partway_i};
  assign head     = held_valid_q ? held_q : given;
  assign has_head = (held_valid_q | valid_i) & ~stopped_q;
  assign ready_o  = ~held_valid_q | leaves;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) held_valid_q <= 1'b0;
    else if (held_valid_q) held_valid_q <= ~leaves | valid_i;
    else held_valid_q <= valid_i & ~leaves;
  end
  always_ff @(posedge clk_i) begin
    if (valid_i && ready_o) held_q <= given;
  end

  count_t vl_q, vl_d;
  logic [8:0] vtype_q, vtype_d;
  logic vill_q, vill_d;
  id_t id;
  logic id_free, illegal;
  instruction_t instruction;
  footprint_t footprint;

  vector_issue u_issue (
    .word_i       (head.word),
    .op_i         (head.op),
    .a_i          (head.a),
    .b_i          (head.b),
    .fs1_i        (head.fs1),
    .fs2_i        (head.fs2),
    .fs3_i        (head.fs3),
    .fcsr_i       (head.fcsr),
    .vxrm_i       (head.vxrm),
    .partway_i    (head.partway),
    .vl_i         (vl_q),
    .vtype_i      (vtype_q),
    .vill_i       (vill_q),
    .id_i         (id),
    .illegal_o    (illegal),
    .instruction_o(instruction),
    .footprint_o  (footprint)
  );

  vector_set u_set (
    .word_i (head.word),
    .op_i   (head.op),
    .a_i    (head.a),
    .b_i    (head.b),
    .vl_i   (vl_q),
    .vl_o   (vl_d),
    .vtype_o(vtype_d),
    .vill_o (vill_d)
  );

  unit_e unit_of_head;
  logic is_set, set_leaves, issues;
  logic [2:0] room;  // arithmetic, memory, slide
  scalar_t set_q, set_value;
  logic set_taken;

  assign unit_of_head = instruction.control.unit;
  assign is_set       = unit_of_head == UNIT_VSET;
  assign set_leaves   = has_head & is_set & id_free & (~set_q.valid | set_taken);
  assign issues       = has_head & ~illegal & ~is_set & id_free &
                        ((unit_of_head == UNIT_VFU && room[0]) || (unit_of_head == UNIT_VLSU && room[1]) ||
                         (unit_of_head == UNIT_SLIDE && room[2]));
  assign leaves       = set_leaves | issues;
  assign set_value    = '{valid: head.word[11:7] != '0, register_number: head.word[11:7], value: 64'(vl_d)};

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      vl_q         <= '0;
      vtype_q      <= '0;
      vill_q       <= 1'b1;
      stopped_q    <= 1'b0;
      stopped_pc_q <= '0;
      set_q        <= '0;
    end else begin
      if (set_leaves) begin
        vl_q    <= vl_d;
        vtype_q <= vtype_d;
        vill_q  <= vill_d;
      end
      if (set_leaves) set_q <= set_value;
      else if (set_taken) set_q.valid <= 1'b0;
      if (has_head && illegal) begin
        stopped_q    <= 1'b1;
        stopped_pc_q <= head.pc;
      end
    end
  end

  // Queues of the units ------------------------------------------------------------------------------------------------
  localparam int unsigned UsageWidth = $clog2(QueueDepth + 1);
  instruction_t [2:0] next;
  logic [2:0] next_valid, next_pop, enter;
  logic [2:0][UsageWidth-1:0] usage;
  assign enter = {issues && unit_of_head == UNIT_SLIDE, issues && unit_of_head == UNIT_VLSU,
                  issues && unit_of_head == UNIT_VFU};

  for (genvar unit = 0; unit < 3; unit++) begin : gen_queue
    fifo #(
      .Width($bits(instruction_t)),
      .Depth(QueueDepth)
    ) u_queue (
      .clk_i,
      .rst_ni,
      .valid_i(enter[unit]),
      .ready_o(room[unit]),
      .data_i (instruction),
      .valid_o(next_valid[unit]),
      .ready_i(next_pop[unit]),
      .data_o (next[unit]),
      .usage_o(usage[unit])
    );
  end

  // Scoreboard: checks of the arithmetic (6), of the memory (4), of the slide unit (3) -----------------------------------
  logic [Ids-1:0] live, may_read, may_write, ending;
  progress_t [4:0] progress;
  id_t [12:0] check_id;
  word_t [12:0] check_word;
  logic [12:0] check_write, check_free;
  word_t [5:0] check_arithmetic;
  word_t [3:0] check_memory;
  word_t [2:0] check_slide;
  id_t writer;

  assign check_word  = {check_slide, check_memory, check_arithmetic};
  assign check_id    = {{3{next[2].id}}, writer, {3{next[1].id}}, {6{next[0].id}}};
  assign check_write = 13'b100_1000_100000;

  vector_scoreboard #(
    .Chaining(Chaining)
  ) u_scoreboard (
    .clk_i,
    .rst_ni,
    .issue_i      (issues),
    .footprint_i  (footprint),
    .free_o       (id_free),
    .id_o         (id),
    .progress_i   (progress),
    .live_o       (live),
    .ending_o     (ending),
    .check_id_i   (check_id),
    .check_word_i (check_word),
    .check_write_i(check_write),
    .check_free_o (check_free),
    .may_read_o   (may_read),
    .may_write_o  (may_write)
  );

  // Register file ------------------------------------------------------------------------------------------------------
  logic [7:0] read, granted;
  word_t [7:0] read_word;
  data_t [7:0] read_data;
  vrf_write_t [2:0] writes;
  logic [2:0] written;
  logic arithmetic_first;
  logic [VlenBits-1:0] mask;
  logic [4:0] arithmetic_read, arithmetic_granted;
  word_t [4:0] arithmetic_word;
  data_t [4:0] arithmetic_data;
  logic [1:0] memory_read;
  word_t [1:0] memory_word;
  logic slide_read;
  word_t slide_word;

  // In the order of the ports: vs3, vs2, offsets; vs4, vs1, slide unit; vd, data of stores.
  assign read      = {memory_read[1], arithmetic_read[4], slide_read, arithmetic_read[3:2], memory_read[0], arithmetic_read[1:0]};
  assign read_word = {memory_word[1], arithmetic_word[4], slide_word, arithmetic_word[3:2], memory_word[0],
                      arithmetic_word[1:0]};
  assign arithmetic_granted = {granted[6], granted[4:3], granted[1:0]};
  assign arithmetic_data    = {read_data[6], read_data[4:3], read_data[1:0]};

  vector_registers u_registers (
    .clk_i,
    .read_i   (read),
    .word_i   (read_word),
    .granted_o(granted),
    .data_o   (read_data),
    .write_i  (writes),
    .written_o(written),
    .arithmetic_first_i(arithmetic_first),
    .mask_o   (mask)
  );

  // Units --------------------------------------------------------------------------------------------------------------
  scalar_t counted, moved, computed, moved_float;
  logic counted_taken, moved_taken;
  result_t result;
  logic result_valid, result_ready;

  vector_arithmetic #(
    .IntegerLatency(IntegerLatency),
    .FmaLatency    (FmaLatency),
    .NoncompLatency(NoncompLatency),
    .ConvertLatency(ConvertLatency),
    .MxdotpLatency (MxdotpLatency),
    .DivideCycles  (DivideCycles)
  ) u_arithmetic (
    .clk_i,
    .rst_ni,
    .valid_i        (next_valid[0]),
    .instruction_i  (next[0]),
    .may_begin_i    (may_read[next[0].id] & may_write[next[0].id]),
    .pop_o          (next_pop[0]),
    .check_o        (check_arithmetic),
    .free_i         (check_free[5:0]),
    .read_o         (arithmetic_read),
    .word_o         (arithmetic_word),
    .granted_i      (arithmetic_granted),
    .data_i         (arithmetic_data),
    .mask_i         (mask),
    .result_o       (result),
    .result_valid_o (result_valid),
    .result_ready_i (result_ready),
    .counted_o      (progress[1]),
    .float_o        (computed),
    .integer_o      (counted),
    .integer_taken_i(counted_taken),
    .flags_o,
    .flags_id_o,
    .saturated_o
  );

  vector_results u_results (
    .clk_i,
    .rst_ni,
    .valid_i   (result_valid),
    .ready_o   (result_ready),
    .result_i  (result),
    .write_o   (writes[1]),
    .written_i (written[1]),
    .first_o   (arithmetic_first),
    .progress_o(progress[0])
  );

  vector_memory u_memory (
    .clk_i,
    .rst_ni,
    .valid_i       (next_valid[1]),
    .instruction_i (next[1]),
    .may_begin_i   (may_read[next[1].id]),
    .pop_o         (next_pop[1]),
    .check_o       (check_memory),
    .writer_o      (writer),
    .free_i        ({check_free[9] & may_write[writer], check_free[8:6]}),
    .read_o        (memory_read),
    .word_o        (memory_word),
    .granted_i     ({granted[7], granted[2]}),
    .data_i        ({read_data[7], read_data[2]}),
    .mask_i        (mask),
    .request_o,
    .request_write_o,
    .address_o,
    .strobe_o,
    .data_o,
    .ready_i,
    .answer_valid_i,
    .answer_data_i,
    .request_id_o,
    .write_o       (writes[0]),
    .written_i     (written[0]),
    .loaded_o      (progress[2]),
    .stored_o      (progress[3])
  );

  vector_slide u_slide (
    .clk_i,
    .rst_ni,
    .valid_i        (next_valid[2]),
    .instruction_i  (next[2]),
    .may_begin_i    (may_read[next[2].id] & may_write[next[2].id]),
    .pop_o          (next_pop[2]),
    .check_o        (check_slide),
    .free_i         (check_free[12:10]),
    .read_o         (slide_read),
    .word_o         (slide_word),
    .granted_i      (granted[5]),
    .data_i         (read_data[5]),
    .mask_i         (mask),
    .write_o        (writes[2]),
    .written_i      (written[2]),
    .progress_o     (progress[4]),
    .integer_o      (moved),
    .integer_taken_i(moved_taken),
    .float_o        (moved_float),
    .float_taken_i  (~computed.valid)
  );

  // Results for FP registers: of scalar arithmetic, else of the slide unit.
  assign float_o = computed.valid ? computed : moved_float;

  // Results for integer registers: a vset's, the slide unit's, a count, one a cycle.
  assign set_taken     = set_q.valid;
  assign moved_taken   = moved.valid & ~set_q.valid;
  assign counted_taken = counted.valid & ~set_q.valid & ~moved.valid;
  assign integer_o     = set_q.valid ? set_q : (moved.valid ? moved : counted);

  // What is under way: accesses until their last word or request.
  logic [2:0] loads_q, stores_q;
  logic load_ends, store_ends, load_enters, store_enters, load_waits, store_waits, valid_here;
  assign load_ends    = progress[2].valid & progress[2].last;
  assign store_ends   = progress[3].valid & progress[3].last;
  assign load_enters  = enter[1] & ~instruction.control.store;
  assign store_enters = enter[1] & instruction.control.store;
  assign valid_here   = held_valid_q & ~illegal & unit_of_head == UNIT_VLSU;
  assign load_waits   = valid_here & ~instruction.control.store;
  assign store_waits  = valid_here & instruction.control.store;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      loads_q  <= '0;
      stores_q <= '0;
    end else begin
      loads_q  <= loads_q + 3'(load_enters) - 3'(load_ends);
      stores_q <= stores_q + 3'(store_enters) - 3'(store_ends);
    end
  end
  assign loads_o  = load_waits | (loads_q != 3'(load_ends));
  assign stores_o = store_waits | (stores_q != 3'(store_ends));

  assign idle_o       = ~held_valid_q & (live & ~ending) == '0;
  assign vl_o         = 64'(vl_q);
  assign vtype_o      = {vill_q, 54'd0, vtype_q};
  assign illegal_o    = stopped_q;
  assign illegal_pc_o = stopped_pc_q;
  assign issued_o     = issues;
  assign issued_id_o  = id;
  assign issued_pc_o  = head.pc;
  assign writes_o[0]  = written[0] ? writes[0] : '0;
  assign writes_o[1]  = written[1] ? writes[1] : '0;
  assign writes_o[2]  = written[2] ? writes[2] : '0;

  logic unused;
  assign unused = ^{usage};

  `POTLUCK_ASSERT(KnownUnit, next_valid[0] |-> next[0].control.unit == UNIT_VFU)

endmodule
