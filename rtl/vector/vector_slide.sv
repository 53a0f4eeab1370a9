// The slide unit: moves, slides, gathers and single elements, a word of the register file a cycle.
//
// A slide reads the words of its source one after the other and keeps the last one, so that a word of the result, which lies in two of
// them, needs one read; the first word needs a second one. A gather takes an element a cycle.
module vector_slide
  import potluck_isa_pkg::*;
  import potluck_vector_control_pkg::*;
  import vector_unit_pkg::*;
(
  input  logic         clk_i,
  input  logic         rst_ni,

  input  logic         valid_i,
  input  instruction_t instruction_i,
  input  logic         may_begin_i,
  output logic         pop_o,

  // Checks: the word read, the mask, the word written.
  output word_t [2:0]  check_o,
  input  logic  [2:0]  free_i,

  output logic         read_o,
  output word_t        word_o,
  input  logic         granted_i,
  input  data_t        data_i,
  input  logic [VlenBits-1:0] mask_i,

  output vrf_write_t   write_o,
  input  logic         written_i,
  output progress_t    progress_o,
  output scalar_t      integer_o,
  input  logic         integer_taken_i,
  output scalar_t      float_o,
  input  logic         float_taken_i
);

  localparam int unsigned LogWord = $clog2(WordBytes);

  control_t c;
  assign c = instruction_i.control;

  logic is_up, is_down, is_gather, is_slide, is_splat, to_scalar;
  assign is_up     = c.work == WORK_UP;
  assign is_down   = c.work == WORK_DOWN;
  assign is_gather = c.work == WORK_GATHER;
  assign is_slide  = is_up | is_down;
  assign is_splat  = c.work == WORK_SPLAT;
  assign to_scalar = c.work == WORK_TO_X || c.work == WORK_TO_F;

  // Where the step stands ---------------------------------------------------------------------------------------------
  typedef logic [9:0] step_t;
  step_t step_q;          // word of the result, or element of a gather
  logic ahead_q;          // the first half of a slide's next word is here
  data_t before_q;        // the word read before
  logic have_index_q;     // of a gather: the index of this element is here
  logic [63:0] index_q;

  logic [1:0] width;
  count_t vlmax;
  logic [13:0] bytes, group_bytes;
  assign width       = to_scalar ? instruction_i.vs2_width : instruction_i.vd_width;
  assign bytes       = 14'(instruction_i.count) << width;
  assign vlmax       = instruction_i.vlmax;
  assign group_bytes = 14'(vlmax) << width;

  // Distance in bytes, no more than a whole group.
  logic far;
  logic [13:0] distance;
  assign far      = instruction_i.scalar >= 64'(vlmax);
  assign distance = far ? group_bytes : instruction_i.scalar[13:0] << width;

  // A slide's result from byte `begins` on; an upward one leaves what lies below the distance.
  logic signed [14:0] source_at;    // of the word's first byte
  logic [13:0] result_at;
  logic last, empty;
  assign result_at = is_gather ? 14'(step_q) << width : 14'(step_q) << LogWord;
  assign source_at = is_up ? signed'({1'b0, result_at}) - signed'({1'b0, distance})
                   : (is_down ? signed'({1'b0, result_at}) + signed'({1'b0, distance})
                              : signed'({1'b0, result_at}));
  assign empty = bytes == '0;
  assign last  = empty || (is_gather ? 14'(step_q) + 14'd1 >= 14'(instruction_i.count)
                                     : bytes - result_at <= 14'(WordBytes));

  // Words of the source that this step needs: the one in which it begins and, unless it is aligned, the next one.
  logic signed [9:0] low_word, high_word;
  logic needs_low, needs_high, reads, two;
  assign low_word   = 10'(source_at >>> LogWord);
  assign high_word  = low_word + 10'sd1;
  assign two        = is_slide && source_at[4:0] != '0;
  function automatic logic inside_group(input logic signed [9:0] word, input logic [13:0] all);
    return !word[9] && 14'(unsigned'(word)) < ((all + 14'(WordBytes) - 14'd1) >> LogWord);
  endfunction
  logic low_exists, high_exists;
  assign low_exists  = inside_group(low_word, group_bytes);
  assign high_exists = inside_group(high_word, group_bytes);
  assign needs_low   = is_slide && !empty && low_exists && !ahead_q;
  assign needs_high  = is_slide && !empty && two && high_exists;

  // Gathers: first the index, then the element.
  logic index_step, index_fits;
  logic [13:0] element_at;
  assign index_step = is_gather & ~have_index_q & ~empty;
  assign index_fits = index_q < 64'(vlmax);
  assign element_at = index_q[13:0] << width;

  logic first_half;   // only the low word is read in this cycle
  assign first_half = is_slide & needs_low & needs_high;

  always_comb begin
    reads  = !empty && !is_splat;
    word_o = instruction_i.vs2 + word_t'(step_q);
    if (is_gather) begin
      word_o = index_step ? instruction_i.vs1 + word_t'(result_at >> LogWord) : instruction_i.vs2 + word_t'(element_at >> LogWord);
      reads  = !empty && (index_step || index_fits);
    end else if (is_slide) begin
      reads  = needs_low | needs_high;
      word_o = instruction_i.vs2 + word_t'(needs_low ? low_word : high_word);
    end else if (c.vs2 == EEW_NONE) begin
      word_o = instruction_i.vs1 + word_t'(step_q);
    end else if (to_scalar) begin
      word_o = instruction_i.vs2;
    end
  end

  logic free, room, tries, steps, done;
  assign check_o = {instruction_i.vd + word_t'(result_at >> LogWord), word_t'((result_at >> width) >> 8), word_o};
  assign free    = (free_i[0] || !reads) && (free_i[1] || instruction_i.unmasked) &&
                   (free_i[2] || to_scalar || empty);
  assign tries   = valid_i & may_begin_i & free & room;
  assign read_o  = tries & reads;
  assign steps   = tries & (granted_i | ~reads);
  assign done    = steps & ~first_half & ~index_step;   // a word of the result
  assign pop_o   = done & last;

  // Two words beside each other, of which the slide takes the middle.
  data_t low, high, moved, result;
  always_comb begin
    low  = ahead_q ? before_q : (needs_low ? data_i : '0);
    high = needs_high ? data_i : '0;
    if (!low_exists && !ahead_q) low = '0;
    moved = data_t'({high, low} >> {source_at[4:0], 3'b000});
    result = data_i;
    if (is_splat) result = {Lanes{instruction_i.scalar}};
    if (is_slide) result = moved;
    if (is_gather) begin
      result = {Lanes{splat(index_fits ? 64'(data_i >> {element_at[4:0], 3'b000}) : '0, width)}};
    end
  end

  strobe_t strobe;
  always_comb begin
    for (int b = 0; b < int'(WordBytes); b++) begin
      logic [13:0] at;
      at = {result_at[13:LogWord], {LogWord{1'b0}}} + 14'(b);
      strobe[b] = at < bytes && (instruction_i.unmasked || mask_i[9'(at >> width)]) && !(is_up && at < distance) &&
                  (!is_gather || (at >> width) == 14'(step_q));
    end
  end

  // What lies past the group is 0; what a slide reads beyond vlmax is, too.
  data_t limited;
  always_comb begin
    limited = result;
    if (is_down) begin
      for (int b = 0; b < int'(WordBytes); b++) begin
        if (source_at + 15'(b) >= signed'({1'b0, group_bytes})) limited[8*b+:8] = '0;
      end
    end
  end

  // One stage to the register file.
  typedef struct packed {
    id_t        id;
    logic       last;
    logic       to_x;
    logic       to_f;
    logic [1:0] width;
    logic [4:0] rd;
    word_t      word;
    strobe_t    strobe;
    data_t      data;
  } step_out_t;
  logic stage_valid, stage_taken, stage_ready;
  step_out_t out, stage;
  assign out = '{id: instruction_i.id, last: last, to_x: c.work == WORK_TO_X, to_f: c.work == WORK_TO_F, width: width,
                 rd: instruction_i.rd, word: instruction_i.vd + word_t'(result_at >> LogWord),
                 strobe: to_scalar ? '0 : strobe, data: limited};

  pipe_stage #(
    .Width($bits(step_out_t)),
    .Stages(2)
  ) u_stage (
    .clk_i,
    .rst_ni,
    .valid_i(done),
    .ready_o(stage_ready),
    .data_i (out),
    .valid_o(stage_valid),
    .ready_i(stage_taken),
    .data_o (stage)
  );
  assign room = stage_ready;

  logic [63:0] extended;
  always_comb begin
    case (stage.width)
      2'd0: extended = {{56{stage.data[7]}}, stage.data[7:0]};
      2'd1: extended = {{48{stage.data[15]}}, stage.data[15:0]};
      2'd2: extended = {{32{stage.data[31]}}, stage.data[31:0]};
      default: extended = stage.data[63:0];
    endcase
  end

  always_comb begin
    write_o     = '{valid: stage_valid && stage.strobe != '0, id: stage.id, word: stage.word, strobe: stage.strobe,
                    data: stage.data};
    stage_taken = stage_valid & ((stage.strobe == '0) | written_i) & ~(stage.to_x & integer_o.valid & ~integer_taken_i) &
                  ~(stage.to_f & ~float_taken_i);
    progress_o  = '{valid: stage_taken, id: stage.id, last: stage.last};
    float_o     = '{valid: stage_taken & stage.to_f, register_number: stage.rd, value: extended};
    case (stage.width)
      2'd1: float_o.value[63:16] = '1;
      2'd2: float_o.value[63:32] = '1;
      default: ;
    endcase
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      step_q       <= '0;
      ahead_q      <= 1'b0;
      have_index_q <= 1'b0;
      integer_o    <= '0;
    end else begin
      if (steps) begin
        ahead_q      <= is_slide & (first_half | (~last & two & high_exists));
        have_index_q <= index_step;
        if (done) step_q <= last ? '0 : step_q + step_t'(1);
      end
      if (integer_taken_i) integer_o.valid <= 1'b0;
      if (stage_taken && stage.to_x) integer_o <= '{valid: 1'b1, register_number: stage.rd, value: extended};
    end
  end
  always_ff @(posedge clk_i) begin
    if (steps && is_slide) before_q <= data_i;
    if (steps && index_step) begin
      case (instruction_i.vs1_width)
        2'd0: index_q <= 64'(8'(data_i >> {result_at[4:0], 3'b000}));
        2'd1: index_q <= 64'(16'(data_i >> {result_at[4:0], 3'b000}));
        2'd2: index_q <= 64'(32'(data_i >> {result_at[4:0], 3'b000}));
        default: index_q <= 64'(data_i >> {result_at[4:0], 3'b000});
      endcase
    end
  end

  logic unused;
  assign unused = ^{instruction_i, c};

endmodule
