// The arithmetic unit: carries instructions to the lanes, a step a cycle, and results to the register file.
//
// Floating work and VMXDOTP run on all lanes, integer work on the first one; before the kind changes the lanes are empty, and
// then a cycle passes. In a step the widest of operands and result is 64 bits a lane; narrower ones lie at the low
// end of a lane's word. A reduction folds its steps in turn into two words of partial results, these into one, and halves that.
module vector_arithmetic
  import potluck_isa_pkg::*;
  import potluck_vector_control_pkg::*;
  import potluck_vector_pkg::*;
  import fp_pkg::*;
  import mxdotp_pkg::*;
  import vector_unit_pkg::*;
#(
  parameter int unsigned IntegerLatency = 2,  // cycles from operands to results
  parameter int unsigned FmaLatency     = 3,
  parameter int unsigned NoncompLatency = 2,
  parameter int unsigned ConvertLatency = 3,
  parameter int unsigned MxdotpLatency  = 4,
  parameter int unsigned DivideCycles   = 8,  // an element, in each lane
  parameter bit          HasMxdotp      = 1'b1  // without, no VMXDOTP may come
) (
  input  logic         clk_i,
  input  logic         rst_ni,

  input  logic         valid_i,
  input  instruction_t instruction_i,
  input  logic         may_begin_i,
  output logic         pop_o,          // its last operands are read

  // Checks: vs2, vs1, the mask, vs3, vs4, all read, and vd, written.
  output word_t [5:0]  check_o,
  input  logic  [5:0]  free_i,

  // vs3, vs2, vs4, vs1, vd.
  output logic  [4:0]  read_o,
  output word_t [4:0]  word_o,
  input  logic  [4:0]  granted_i,
  input  data_t [4:0]  data_i,
  input  logic [VlenBits-1:0] mask_i,

  output result_t      result_o,
  output logic         result_valid_o,
  input  logic         result_ready_i,
  output progress_t    counted_o,
  output scalar_t      float_o,
  output scalar_t      integer_o,
  input  logic         integer_taken_i,
  output fflags_t      flags_o,
  output id_t          flags_id_o,
  output logic         saturated_o
);

  localparam int unsigned LogWord = $clog2(WordBytes);
  typedef logic [9:0] beat_t;

  control_t c;
  vector_facts_t facts_of_op;
  assign c           = instruction_i.control;
  assign facts_of_op = vector_facts(instruction_i.op);

  // The step --------------------------------------------------------------------------------------------------------
  beat_t beat_q;
  logic floating_q;            // the kind of work that the lanes are set to
  logic [5:0] under_way_q;     // steps in the lanes
  logic is_mx, is_reduce, is_mask_work, is_count, mask_result;
  logic [2:0] log_step;        // bytes of widest elements
  logic [2:0] log_elements;
  logic [9:0] folds, beats;    // steps of a reduction that read partial results; steps that read elements
  logic is_fold, is_union, last_beat, last;
  logic [2:0] vd_step, vs2_step, vs1_step;  // bytes of the operands in a step

  assign is_mx        = HasMxdotp && c.work == WORK_MXDOTP;
  assign is_reduce    = c.work == WORK_REDUCE;
  assign mask_result  = c.vd == EEW_MASK && c.vs2 != EEW_MASK;
  assign is_mask_work = c.vs2 == EEW_MASK;
  assign is_count     = c.work == WORK_POPCOUNT || c.work == WORK_FIRST;
  assign log_step     = c.floating ? 3'(LogWord) : 3'd3;
  assign log_elements = is_mask_work ? 3'd6 : log_step - 3'(instruction_i.widest);
  assign vd_step      = log_step - 3'(instruction_i.widest) + 3'(instruction_i.vd_width);
  assign vs2_step     = log_step - 3'(instruction_i.widest) + 3'(instruction_i.vs2_width);
  assign vs1_step     = log_step - 3'(instruction_i.widest) + 3'(instruction_i.vs1_width);

  always_comb begin
    beats = (instruction_i.count + (10'd1 << log_elements) - 10'd1) >> log_elements;
    if (beats == '0) beats = 10'd1;
  end
  assign folds     = is_reduce ? 10'(log_elements) + 10'(beats > 10'd1) : '0;
  assign is_fold   = beat_q >= beats;
  assign is_union  = beat_q == beats && beats > 10'd1;  // of the two words
  assign last_beat = beat_q + 10'd1 >= beats;
  assign last      = beat_q + 10'd1 == beats + folds;

  // Bytes from the beginning of a group.
  logic [9:0] vd_at, vs2_at, vs1_at, bit_at;
  assign vd_at  = beat_q << vd_step;
  assign vs2_at = beat_q << vs2_step;
  assign vs1_at = is_reduce ? '0 : beat_q << vs1_step;
  assign bit_at = beat_q << log_elements;

  word_t vd_word, vs2_word, vs1_word;
  assign vd_word  = instruction_i.vd + (mask_result ? word_t'(bit_at >> 8)
                                        : (is_reduce ? '0 : word_t'(vd_at >> LogWord)));
  assign vs2_word = instruction_i.vs2 + word_t'(vs2_at >> LogWord);
  assign vs1_word = instruction_i.vs1 + word_t'(vs1_at >> LogWord);

  // Scales: a word serves eight steps.
  data_t scales_a_q, scales_b_q;
  logic scales_a_valid_q, scales_b_valid_q;
  word_t vs3_word, vs4_word;
  assign vs3_word = instruction_i.vs3 + word_t'(beat_q >> 3);
  assign vs4_word = instruction_i.vs4 + word_t'(beat_q >> 3);

  logic [4:0] needs;  // vs3, vs2, vs4, vs1, vd
  always_comb begin
    needs = '0;
    if (!is_fold && instruction_i.count != '0 && !instruction_i.scalar_float) begin
      needs[0] = is_mx && c.second == SECOND_VECTOR && !scales_a_valid_q;
      needs[1] = c.vs2 != EEW_NONE;
      needs[2] = is_mx && !scales_b_valid_q;
      needs[3] = c.second == SECOND_VECTOR && (!is_reduce || beat_q == '0);
      needs[4] = c.vd_read;
    end
  end

  assign check_o = {vd_word, vs4_word, vs3_word, word_t'(bit_at >> 8), vs1_word, vs2_word};
  assign word_o  = {vd_word, vs1_word, vs4_word, vs2_word, vs3_word};

  logic uses_mask, operands_free, set_to_it, partial_free, enabled, ready, fires;
  assign uses_mask = !instruction_i.unmasked || c.mask_data;
  assign set_to_it = floating_q == c.floating;

  always_comb begin
    operands_free = 1'b1;
    if (!is_fold && instruction_i.count != '0 && !instruction_i.scalar_float) begin
      operands_free = (free_i[0] || !needs[1]) && (free_i[1] || !needs[3]) && (free_i[2] || !uses_mask) &&
                      (free_i[3] || !needs[0]) && (free_i[4] || !needs[2]) && (free_i[5] || c.vd == EEW_NONE);
    end
  end

  assign enabled = valid_i & may_begin_i & set_to_it & operands_free & (~is_reduce | partial_free);
  assign read_o  = (enabled && ready) ? needs : '0;
  assign fires   = enabled & ready & ((granted_i & needs) == needs);
  assign pop_o   = fires & last;

  // Which elements of a step are active ------------------------------------------------------------------------------
  logic [63:0] window, active, data_mask;
  always_comb begin
    window    = 64'(mask_i >> bit_at);
    data_mask = c.mask_data ? window : '1;
    for (int e = 0; e < 64; e++) begin
      active[e] = 10'(e) < (10'd1 << log_elements) && 32'(bit_at) + e < 32'(instruction_i.count) &&
                  (instruction_i.unmasked || window[e]);
    end
    if (log_elements == 3'd6 && !is_mask_work) active = '0;
  end

  // Operands of the lanes --------------------------------------------------------------------------------------------
  data_t [1:0] partial_q, partial;
  logic [1:0] folding_q, arriving;  // steps on their way to either word; those that arrive in this cycle
  logic fold_slot, any_active_q;
  logic [Lanes-1:0][63:0] a, b, d;
  logic [Lanes-1:0][7:0] lane_mask, lane_active;
  logic [Lanes-1:0][7:0] scale_a, scale_b;

  function automatic logic [63:0] share(input data_t word, input logic [4:0] at, input logic [2:0] of_step,
                                        input logic [2:0] log_bytes, input int lane);
    logic [4:0] place;
    place = at + 5'(lane << (of_step - (log_bytes - 3'd3)));
    return 64'(word >> {place, 3'b000});
  endfunction

  data_t vs1_first, folded;
  assign vs1_first = {Lanes{splat(data_i[3][63:0], instruction_i.vs1_width)}};

  // A step takes the result of the one before it in the cycle in which that leaves the lanes.
  assign fold_slot    = ~is_fold & beat_q[0];
  assign partial_free = (beat_q == '0) ? folding_q == '0
                      : ~(folding_q[fold_slot] & ~arriving[fold_slot]) & ~(is_union & folding_q[1] & ~arriving[1]);

  // The other word, or the upper half of what is left of the partial results.
  always_comb begin
    logic [2:0] half;  // binary logarithm of its bytes
    half = log_step - 3'd1 - 3'(beat_q - beats - 10'(beats > 10'd1));
    folded = is_union ? partial[1] : partial[0] >> (9'd8 << half);
  end

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_operands
    logic [63:0] second;
    assign second = (c.second == SECOND_VECTOR) ? share(data_i[3], vs1_at[4:0], vs1_step, log_step, lane)
                                                : instruction_i.scalar;
    always_comb begin
      a[lane] = share(data_i[1], vs2_at[4:0], vs2_step, log_step, lane);
      b[lane] = second;
      d[lane] = share(data_i[4], vd_at[4:0], vd_step, log_step, lane);
      if (instruction_i.scalar_float) begin
        a[lane] = instruction_i.first;
        b[lane] = instruction_i.scalar;
        d[lane] = instruction_i.stride;
      end
      if (is_reduce) begin
        b[lane] = is_fold ? folded[64*lane+:64] : a[lane];
        a[lane] = (beat_q == '0) ? vs1_first[64*lane+:64] : partial[fold_slot][64*lane+:64];
      end
    end
    always_comb begin
      logic [5:0] first;
      first = 6'(lane << (3'd3 - 3'(instruction_i.widest)));
      lane_mask[lane] = 8'(data_mask >> first);
      for (int byte_number = 0; byte_number < 8; byte_number++) begin
        lane_active[lane][byte_number] = active[first + 6'(byte_number >> instruction_i.widest)];
        if (is_mask_work) lane_active[lane][byte_number] = 1'b1;
        if (is_fold) lane_active[lane][byte_number] = any_active_q;
      end
      if (!c.floating && lane != 0) lane_active[lane] = '0;
      if (instruction_i.scalar_float) lane_active[lane] = (lane == 0) ? 8'h01 : '0;  // its one element
    end
    logic [4:0] scale_at;
    assign scale_at = {beat_q[2:0], 2'(lane)};
    assign scale_a[lane] = (c.second != SECOND_VECTOR) ? instruction_i.stride[7:0]
                         : 8'((scales_a_valid_q ? scales_a_q : data_i[0]) >> {scale_at, 3'b000});
    assign scale_b[lane] = 8'((scales_b_valid_q ? scales_b_q : data_i[2]) >> {scale_at, 3'b000});
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      scales_a_valid_q <= 1'b0;
      scales_b_valid_q <= 1'b0;
    end else if (fires && (last || beat_q[2:0] == 3'd7)) begin
      scales_a_valid_q <= 1'b0;
      scales_b_valid_q <= 1'b0;
    end else begin
      if (read_o[0] && granted_i[0]) scales_a_valid_q <= 1'b1;
      if (read_o[2] && granted_i[2]) scales_b_valid_q <= 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (read_o[0] && granted_i[0]) scales_a_q <= data_i[0];
    if (read_o[2] && granted_i[2]) scales_b_q <= data_i[2];
  end

  // What accompanies a step ------------------------------------------------------------------------------------------
  typedef struct packed {
    id_t         id;
    logic        last;
    logic        floating;
    logic        scalar;
    logic        to_x;
    logic [4:0]  rd;
    logic        compare;
    logic        reduce;
    logic        slot;      // word of partial results
    logic        writes;
    logic        mask_result;
    logic        mask_work;
    logic [1:0]  widest;
    logic [1:0]  width;
    logic [2:0]  step;      // bytes of results, binary logarithm
    word_t       word;
    logic [9:0]  at;        // of the results, in bytes or, of a mask, in bits
    logic [63:0] active;
    logic [63:0] old;       // of a mask
  } tag_t;

  tag_t tag;
  always_comb begin
    tag             = '0;
    tag.id          = instruction_i.id;
    tag.last        = last;
    tag.floating    = c.floating;
    tag.scalar      = instruction_i.scalar_float;
    tag.to_x        = instruction_i.to_x;
    tag.rd          = instruction_i.rd;
    tag.compare     = facts_of_op.op.compare;
    tag.reduce      = is_reduce;
    tag.slot        = fold_slot;
    tag.writes      = c.vd != EEW_NONE && (!is_reduce || (last && instruction_i.count != '0));
    tag.mask_result = mask_result;
    tag.mask_work   = is_mask_work;
    tag.widest      = instruction_i.widest;
    tag.width       = instruction_i.scalar_float ? instruction_i.result_width : instruction_i.vd_width;
    tag.step        = vd_step;
    tag.word        = vd_word;
    tag.at          = mask_result ? bit_at : vd_at;
    tag.active      = is_fold ? {64{any_active_q}} : active;
    tag.old         = mask_result ? 64'(data_i[4] >> {bit_at[7:5], 5'd0}) : 64'(data_i[4] >> {vd_at[4:0], 3'b000});
  end

  // Lanes ------------------------------------------------------------------------------------------------------------
  localparam int unsigned TagWidth = $bits(tag_t);
  logic [Lanes-1:0] lane_ready, lane_valid, mx_ready, mx_valid;
  logic [Lanes-1:0][TagWidth-1:0] lane_tag, mx_tag;
  logic [Lanes-1:0][63:0] lane_result;
  logic [Lanes-1:0][31:0] mx_result;
  logic [Lanes-1:0][4:0] lane_flags, mx_flags;
  logic [Lanes-1:0] lane_saturated;
  logic lanes_go, mx_go, lanes_taken, mx_taken, taken;

  assign ready       = is_mx ? mx_ready[0] : (is_count ? 1'b1 : lane_ready[0]);
  assign lanes_go    = fires & ~is_mx & ~is_count;
  assign mx_go       = fires & is_mx;

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_lane
    vector_lane #(
      .IntegerLatency(IntegerLatency),
      .FmaLatency    (FmaLatency),
      .NoncompLatency(NoncompLatency),
      .ConvertLatency(ConvertLatency),
      .DivideCycles  (DivideCycles),
      .TagWidth      (TagWidth)
    ) u_lane (
      .clk_i,
      .rst_ni,
      .valid_i    (lanes_go & (c.floating | (lane == 0))),
      .ready_o    (lane_ready[lane]),
      .op_i       (facts_of_op.op),
      .sew_i      (instruction_i.sew),
      .frm_i      (instruction_i.rm),
      .vxrm_i     (instruction_i.vxrm),
      .e5m2_i     (instruction_i.alternate),
      .a_i        (a[lane]),
      .b_i        (b[lane]),
      .c_i        (d[lane]),
      .mask_i     (lane_mask[lane]),
      .active_i   (lane_active[lane]),
      .single_i   (instruction_i.scalar_float),
      .tag_i      ((lane == 0) ? tag : '0),
      .valid_o    (lane_valid[lane]),
      .ready_i    (lanes_taken),
      .result_o   (lane_result[lane]),
      .flags_o    (lane_flags[lane]),
      .saturated_o(lane_saturated[lane]),
      .tag_o      (lane_tag[lane])
    );

    fflags_t one_flags;
    if (HasMxdotp) begin : gen_mxdotp
      logic [31:0] accumulator;
      assign accumulator = (instruction_i.vd_width == 2'd1) ? {d[lane][15:0], 16'd0} : d[lane][31:0];
      mxdotp_lane #(
        .Latency (MxdotpLatency),
        .TagWidth(TagWidth)
      ) u_mxdotp (
        .clk_i,
        .rst_ni,
        .valid_i   (mx_go),
        .ready_o   (mx_ready[lane]),
        .a_i       (b[lane]),
        .b_i       (a[lane]),
        .scale_a_i (scale_a[lane]),
        .scale_b_i (scale_b[lane]),
        .acc_i     (accumulator),
        .elem_fmt_i(instruction_i.elements),
        .acc_fmt_i ((instruction_i.vd_width == 2'd1) ? BF16 : FP32),
        .rm_i      (instruction_i.rm),
        .tag_i     ((lane == 0) ? tag : '0),
        .valid_o   (mx_valid[lane]),
        .ready_i   (mx_taken),
        .result_o  (mx_result[lane]),
        .flags_o   (one_flags),
        .tag_o     (mx_tag[lane])
      );
    end else begin : gen_no_mxdotp
      assign mx_ready[lane]  = 1'b0;
      assign mx_valid[lane]  = 1'b0;
      assign mx_result[lane] = '0;
      assign one_flags       = '0;
      assign mx_tag[lane]    = '0;
      logic unused_here;
      assign unused_here = ^{scale_a[lane], scale_b[lane], mx_go, mx_taken};
    end
    assign mx_flags[lane] = one_flags;
  end

  // Results ----------------------------------------------------------------------------------------------------------
  tag_t done;
  logic from_mx, has_result;
  logic [Lanes-1:0][63:0] result;
  assign from_mx    = mx_valid[0];
  assign has_result = mx_valid[0] | (lane_valid[0] & (&lane_valid | ~done.floating));
  assign done       = from_mx ? mx_tag[0] : lane_tag[0];

  for (genvar lane = 0; lane < Lanes; lane++) begin : gen_result
    assign result[lane] = !from_mx ? lane_result[lane]
                        : ((done.width == 2'd1) ? 64'(mx_result[lane][31:16]) : 64'(mx_result[lane]));
  end

  // The lanes' results side by side, and again and again up to the end of the word.
  data_t packed_results, spread;
  logic [2:0] lane_step;  // bytes of a lane's results
  assign lane_step = 3'd3 - 3'(done.widest) + 3'(done.width);
  always_comb begin
    for (int b_number = 0; b_number < int'(WordBytes); b_number++) begin
      logic [4:0] inner;
      logic [2:0] place;
      logic [1:0] lane;
      inner = 5'(b_number) & 5'((6'd1 << done.step) - 6'd1);
      lane  = 2'(inner >> lane_step);
      place = 3'(inner) & 3'((4'd1 << lane_step) - 4'd1);
      packed_results[8*b_number+:8] = 8'(result[lane] >> {place, 3'b000});
    end
    spread = packed_results;
  end

  // A mask's bits so far in a window of 32.
  logic [31:0] bits_q, bits_active_q, bits, bits_active, fresh, fresh_active, merged_bits;
  logic [63:0] merged_masks;
  always_comb begin
    fresh = '0;
    for (int lane = 0; lane < int'(Lanes); lane++) begin
      if (lane == 0 || done.floating) begin
        fresh |= {24'd0, result[lane][7:0] & (8'hff >> (4'd8 - (4'd8 >> done.widest)))} << (lane << (3'd3 - 3'(done.widest)));
      end
    end
    fresh_active = 32'(done.active) << done.at[4:0];
    fresh        = fresh << done.at[4:0];
    bits         = (done.at[4:0] == '0) ? fresh : (bits_q | fresh);
    bits_active  = (done.at[4:0] == '0) ? fresh_active : (bits_active_q | fresh_active);
    merged_bits  = (done.old[31:0] & ~bits_active) | (bits & bits_active);
    merged_masks = (done.old & ~done.active) | (result[0] & done.active);
  end

  // Partial results of a reduction: those of inactive elements stay.
  data_t partial_d;
  always_comb begin
    partial_d = partial_q[done.slot];
    for (int b_number = 0; b_number < int'(WordBytes); b_number++) begin
      if (done.active[6'(b_number >> done.widest)]) partial_d[8*b_number+:8] = packed_results[8*b_number+:8];
    end
    arriving            = '0;
    arriving[done.slot] = taken & done.reduce;
    for (int slot = 0; slot < 2; slot++) partial[slot] = arriving[slot] ? partial_d : partial_q[slot];
  end

  vrf_write_t write;
  always_comb begin
    write        = '0;
    write.valid  = has_result & done.writes;
    write.id     = done.id;
    write.word   = done.word;
    write.data   = spread;
    for (int b_number = 0; b_number < int'(WordBytes); b_number++) begin
      logic [4:0] inner, place;
      inner = 5'(b_number) & 5'((6'd1 << done.step) - 6'd1);
      place  = 5'(b_number) & ~5'((6'd1 << done.step) - 6'd1);
      write.strobe[b_number] = place == done.at[4:0] && done.active[6'(inner >> done.width)];
    end
    if (done.reduce) begin
      write.data   = partial_d;
      write.strobe = strobe_t'({24'd0, 8'hff} >> (4'd8 - (4'd1 << done.width)));
    end
    if (done.mask_result) begin
      write.data = {8{merged_bits}};
      for (int b_number = 0; b_number < int'(WordBytes); b_number++) begin
        write.strobe[b_number] = 3'(b_number >> 2) == done.at[7:5] && fresh_active[8*(b_number&3)+:8] != '0;
      end
    end
    if (done.mask_work) begin
      write.data = {4{merged_masks}};
      for (int b_number = 0; b_number < int'(WordBytes); b_number++) begin
        write.strobe[b_number] = 2'(b_number >> 3) == done.at[4:3] && done.active[8*(b_number&7)+:8] != '0;
      end
    end
    if (write.strobe == '0) write.valid = 1'b0;
  end

  assign result_o       = '{write: write, last: done.last};
  assign result_valid_o = has_result & ~done.scalar;
  assign taken       = has_result & (done.scalar | result_ready_i);
  assign mx_taken    = taken & from_mx;
  assign lanes_taken = taken & ~from_mx;

  always_comb begin
    flags_o     = '0;
    saturated_o = 1'b0;
    flags_id_o  = done.id;
    if (taken) begin
      for (int lane = 0; lane < int'(Lanes); lane++) begin
        if (from_mx) begin
          if (done.active[6'(lane)]) flags_o |= mx_flags[lane];
        end else if (lane == 0 || done.floating) begin
          flags_o     |= lane_flags[lane];
          saturated_o |= lane_saturated[lane];
        end
      end
    end
  end

  // A scalar instruction's result passes through one register more.
  scalar_t scalar_q;
  logic scalar_to_x_q;
  id_t scalar_id_q;
  logic [63:0] scalar_value;
  always_comb begin
    case (done.width)
      2'd1: scalar_value = {{48{done.to_x & result[0][15]}} | {48{~done.to_x}}, result[0][15:0]};
      2'd2: scalar_value = {{32{result[0][31]}} | {32{~done.to_x}}, result[0][31:0]};
      default: scalar_value = result[0];
    endcase
    if (done.compare) scalar_value = {63'd0, result[0][0]};
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      scalar_q      <= '0;
      scalar_to_x_q <= 1'b0;
      scalar_id_q   <= '0;
    end else begin
      scalar_q.valid <= taken & done.scalar;
      if (taken && done.scalar) begin
        scalar_q.register_number <= done.rd;
        scalar_q.value           <= scalar_value;
        scalar_to_x_q            <= done.to_x;
        scalar_id_q              <= done.id;
      end
    end
  end
  always_comb begin
    float_o       = scalar_q;
    float_o.valid = scalar_q.valid & ~scalar_to_x_q;
  end

  // vcpop and vfirst -------------------------------------------------------------------------------------------------
  typedef struct packed {
    logic       valid;
    logic       last;
    logic       first;  // the first step
    logic       find;   // the first set bit
    id_t        id;
    logic [4:0] rd;
    logic [9:0] at;
    logic [63:0] found;
  } count_step_t;
  count_step_t counting_q, counted_q;
  logic [63:0] total_q, total_d;

  function automatic logic [63:0] counted(
    input logic [63:0] so_far, input logic find, input logic [9:0] at, input logic [63:0] found
  );
    counted = so_far;
    for (int e = 0; e < 64; e++) begin
      if (found[e]) begin
        if (!find) counted = counted + 64'd1;
        else if (counted == '1) counted = 64'(at) + 64'(e);
      end
    end
  endfunction

  assign total_d = counted(counting_q.first ? {64{counting_q.find}} : total_q, counting_q.find, counting_q.at,
                           counting_q.found);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      counting_q <= '0;
      counted_q  <= '0;
      total_q    <= '0;
      integer_o  <= '0;
    end else begin
      counting_q <= '{valid: fires & is_count, last: last, first: beat_q == '0, find: c.work == WORK_FIRST,
                      id: instruction_i.id, rd: instruction_i.rd, at: bit_at,
                      found: 64'(data_i[1] >> {vs2_at[4:0], 3'b000}) & active};
      counted_q  <= counting_q;
      if (counting_q.valid) total_q <= total_d;
      if (integer_taken_i) integer_o.valid <= 1'b0;
      if (counted_q.valid && counted_q.last) begin
        integer_o <= '{valid: 1'b1, register_number: counted_q.rd, value: total_q};
      end
      if (scalar_q.valid && scalar_to_x_q) integer_o <= scalar_q;
    end
  end
  always_comb begin
    counted_o = '{valid: counted_q.valid, id: counted_q.id, last: counted_q.last};
    if (scalar_q.valid) counted_o = '{valid: 1'b1, id: scalar_id_q, last: 1'b1};
  end

  // State ------------------------------------------------------------------------------------------------------------
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat_q       <= '0;
      floating_q   <= 1'b1;
      under_way_q  <= '0;
      folding_q    <= '0;
      any_active_q <= 1'b0;
    end else begin
      if (fires) beat_q <= last ? '0 : beat_q + 10'd1;
      under_way_q <= under_way_q + 6'(fires) - 6'(taken && !done.scalar) - 6'(counted_o.valid);
      if (valid_i && !set_to_it && under_way_q == '0) floating_q <= c.floating;
      folding_q <= folding_q & ~arriving;
      if (fires && is_reduce) begin
        folding_q[fold_slot] <= 1'b1;
        any_active_q <= (beat_q != '0 && any_active_q) || (!is_fold && active != '0);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (fires && is_reduce && beat_q == '0) partial_q <= {2{vs1_first}};
    if (taken && done.reduce) partial_q[done.slot] <= partial_d;
    if (taken && done.mask_result) begin
      bits_q        <= bits;
      bits_active_q <= bits_active;
    end
  end

  logic unused;
  assign unused = ^{instruction_i, c, facts_of_op, counted_q, lane_ready[Lanes-1:1], mx_ready[Lanes-1:1], mx_valid[Lanes-1:1],
                    lane_tag[Lanes-1:1], mx_tag[Lanes-1:1], last_beat};

endmodule
