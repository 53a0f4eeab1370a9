// The load/store unit: a group of requests a cycle, one a port, and words of the register file from their answers.
//
// Of each word of the register file a port has 64 bits. An access of consecutive elements that begins at a multiple of eight bytes asks
// for them at once; any other asks for one element a port and cycle. A group leaves when all its requests
// have been taken. Answers come in order at each port; the word is written when its last group is there. Stores take
// the word that they need from the register file; loads and stores do not overlap. Stores whose elements may meet at one
// address, indexed ones and those with a stride of 0, send one element a cycle, in order.
`include "assertions.svh"

module vector_memory
  import potluck_isa_pkg::*;
  import potluck_vector_control_pkg::*;
  import vector_unit_pkg::*;
#(
  parameter int unsigned Outstanding = 4  // answers that a port may wait for, beside the request that is on its way
) (
  input  logic         clk_i,
  input  logic         rst_ni,

  input  logic         valid_i,
  input  instruction_t instruction_i,
  input  logic         may_begin_i,
  output logic         pop_o,          // its last requests are made

  // Checks: the mask, the offsets, the data of a store, all read; of the load whose word is to be written.
  output word_t [3:0]  check_o,
  output id_t          writer_o,
  input  logic  [3:0]  free_i,

  // Offsets; data.
  output logic  [1:0]  read_o,
  output word_t [1:0]  word_o,
  input  logic  [1:0]  granted_i,
  input  data_t [1:0]  data_i,
  input  logic [VlenBits-1:0] mask_i,

  output logic [Ports-1:0]       request_o,
  output logic                   request_write_o,
  output logic [Ports-1:0][63:0] address_o,   // of the aligned eight bytes
  output logic [Ports-1:0][7:0]  strobe_o,
  output logic [Ports-1:0][63:0] data_o,
  input  logic [Ports-1:0]       ready_i,
  input  logic [Ports-1:0]       answer_valid_i,
  input  logic [Ports-1:0][63:0] answer_data_i,
  output id_t                    request_id_o,

  output vrf_write_t   write_o,
  input  logic         written_i,
  output progress_t    loaded_o,
  output progress_t    stored_o
);

  localparam int unsigned LogWord = $clog2(WordBytes);

  control_t c;
  assign c = instruction_i.control;

  // The group -------------------------------------------------------------------------------------------------------
  word_t word_q;               // of the group of registers
  logic [2:0] element_q;       // of each port's share
  logic [Ports-1:0][63:0] offset_q;
  logic [Ports-1:0] offset_known_q;

  logic [1:0] width;
  logic [1:0] port_q;          // whose turn it is in an access of one element a cycle
  logic whole_words, serial, last_of_port, last_element, last_word, last, empty;
  logic [13:0] bytes, here;    // of the access; from this word on
  assign width       = instruction_i.vd_width;
  assign bytes       = 14'(instruction_i.count) << width;
  assign here        = bytes - (14'(word_q) << LogWord);
  assign empty       = instruction_i.count == '0;
  assign whole_words = !c.strided && !c.indexed && instruction_i.scalar[2:0] == '0;
  // Stores whose elements may meet at one address go in the order of elements, one a cycle.
  assign serial       = c.store && (c.indexed || (c.strided && instruction_i.stride == '0));
  // The port whose turn it is, or the first one, which has the most elements.
  logic [13:0] of_port;
  assign of_port      = here - (serial ? {9'd0, port_q, 3'd0} : 14'd0);
  assign last_of_port = whole_words || 4'(element_q) + 4'd1 >= ((of_port >= 14'd8) ? (4'd8 >> width) : 4'(of_port >> width));
  assign last_element = last_of_port && (!serial || port_q == 2'd3 || of_port <= 14'd8);
  assign last_word    = here <= 14'(WordBytes);
  assign last         = last_element & last_word;

  logic [Ports-1:0] takes_part, active;   // has an element here; that is not masked off
  logic [Ports-1:0][9:0] number;          // of the element
  logic [Ports-1:0][63:0] target;         // address
  logic [Ports-1:0][7:0] enabled;         // bytes of the share that are active

  for (genvar port = 0; port < Ports; port++) begin : gen_port
    logic [13:0] from, place;
    logic [63:0] offset;
    assign from         = 14'(8 * port);
    assign place        = (14'(word_q) << LogWord) + from + (whole_words ? 14'd0 : (14'(element_q) << width));
    assign number[port] = 10'(place >> width);
    assign takes_part[port] = here > from + (whole_words ? 14'd0 : (14'(element_q) << width)) &&
                              (whole_words || (4'(element_q) << width) < 4'd8) && !empty &&
                              (!serial || port_q == 2'(port));
    always_comb begin
      enabled[port] = '0;
      for (int b = 0; b < 8; b++) begin
        logic [13:0] at;
        at = (14'(word_q) << LogWord) + from + 14'(b);
        enabled[port][b] = at < bytes && (instruction_i.unmasked || mask_i[9'(at >> width)]) &&
                           (whole_words || 3'(b >> width) == element_q);
      end
    end
    assign active[port] = takes_part[port] & (enabled[port] != '0);

    always_comb begin
      if (c.indexed) begin
        offset = offset_known_q[port] ? offset_q[port] : fresh_offset[port];
      end else if (c.strided) begin
        offset = instruction_i.stride * 64'(number[port]);
      end else begin
        offset = 64'(place);
      end
      target[port] = instruction_i.scalar + offset;
    end
  end

  // Offsets of an indexed access: those of one word of them a cycle.
  logic [Ports-1:0][63:0] fresh_offset;
  logic [Ports-1:0] lacks, arrives;
  word_t offset_word;
  logic [Ports-1:0][9:0] offset_at;
  always_comb begin
    offset_word = '0;
    for (int port = int'(Ports) - 1; port >= 0; port--) begin
      offset_at[port] = number[port] << instruction_i.vs2_width;
      lacks[port]     = takes_part[port] & c.indexed & ~offset_known_q[port];
      if (lacks[port]) offset_word = word_t'(offset_at[port] >> LogWord);
    end
  end
  always_comb begin
    for (int port = 0; port < int'(Ports); port++) begin
      logic [63:0] raw;
      raw = 64'(data_i[0] >> {offset_at[port][4:0], 3'b000});
      case (instruction_i.vs2_width)
        2'd0: fresh_offset[port] = {56'd0, raw[7:0]};
        2'd1: fresh_offset[port] = {48'd0, raw[15:0]};
        2'd2: fresh_offset[port] = {32'd0, raw[31:0]};
        default: fresh_offset[port] = raw;
      endcase
      arrives[port] = lacks[port] & granted_i[0] & (word_t'(offset_at[port] >> LogWord) == offset_word);
    end
  end

  // Requests ---------------------------------------------------------------------------------------------------------
  logic [Ports-1:0] pending_q, left;
  logic write_q, request_last_q, store_step_q, store_last_q;
  id_t id_q;
  logic [Ports-1:0][63:0] address_q, request_data_q;
  logic [Ports-1:0][7:0] strobe_q;

  assign left = pending_q & ~ready_i;

  logic groups_ready, loads_under_way, operands_free, tries, complete, makes;
  logic stores_under_way, store_marks_q;
  assign stores_under_way = (pending_q != '0 && write_q) | store_marks_q;

  assign check_o[0] = word_t'(number[0] >> 8);
  assign check_o[1] = instruction_i.vs2 + offset_word;
  assign check_o[2] = instruction_i.vd + word_q;

  always_comb begin
    operands_free = 1'b1;
    if (!instruction_i.unmasked && !free_i[0]) operands_free = 1'b0;
    if (lacks != '0 && !free_i[1]) operands_free = 1'b0;
    if (c.store && !empty && !free_i[2]) operands_free = 1'b0;
  end

  assign tries = valid_i & may_begin_i & operands_free & (left == '0) &
                 (c.store ? ~loads_under_way : (groups_ready & ~stores_under_way));
  assign read_o[0] = tries & (lacks != '0);
  assign read_o[1] = tries & c.store & ~empty;
  assign word_o    = {instruction_i.vd + word_q, instruction_i.vs2 + offset_word};
  assign complete  = ((lacks & ~arrives) == '0) && (!read_o[1] || granted_i[1]);
  assign makes     = tries & complete;
  assign pop_o     = makes & (last | empty);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      word_q         <= '0;
      element_q      <= '0;
      port_q         <= '0;
      offset_known_q <= '0;
      pending_q      <= '0;
      write_q        <= 1'b0;
      store_marks_q  <= 1'b0;
      request_last_q <= 1'b0;
      store_step_q   <= 1'b0;
      store_last_q   <= 1'b0;
    end else begin
      if (tries && !complete) offset_known_q <= offset_known_q | arrives;
      if (makes) begin
        offset_known_q <= '0;
        element_q      <= last_of_port ? '0 : element_q + 3'd1;
        port_q         <= (last_element || empty) ? '0 : port_q + 2'(serial && last_of_port);
        if (last_element) word_q <= (last || empty) ? '0 : word_q + word_t'(1);
        if (empty) element_q <= '0;
      end
      pending_q     <= makes ? active : left;
      // What follows the requests of a store: its progress, when all of them have been taken.
      if (left == '0) begin
        store_marks_q  <= makes & c.store;
        store_step_q   <= makes & c.store & (last_element | empty);
        request_last_q <= last | empty;
        store_last_q   <= store_marks_q & store_step_q & request_last_q;
      end else begin
        store_last_q <= 1'b0;
      end
      if (makes) write_q <= c.store;
    end
  end

  always_ff @(posedge clk_i) begin
    for (int port = 0; port < int'(Ports); port++) begin
      if (arrives[port]) offset_q[port] <= fresh_offset[port];
    end
  end

  id_t stored_id_q;
  logic stored_step_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) stored_step_q <= 1'b0;
    else stored_step_q <= store_marks_q & store_step_q & (left == '0);
  end
  always_ff @(posedge clk_i) begin
    if (left == '0) stored_id_q <= id_q;
    if (makes) begin
      id_q <= instruction_i.id;
      for (int port = 0; port < int'(Ports); port++) begin
        address_q[port] <= {target[port][63:3], 3'b000};
        // An element of a store moves from its place in the share to that in memory.
        strobe_q[port] <= whole_words ? enabled[port]
                        : 8'((9'd1 << (4'd1 << width)) - 9'd1) << target[port][2:0];
        request_data_q[port] <= whole_words ? data_i[1][64*port+:64]
                              : (data_i[1][64*port+:64] >> {element_q << width, 3'b000}) << {target[port][2:0], 3'b000};
      end
    end
  end

  assign request_o       = pending_q;
  assign request_write_o = write_q;
  assign address_o       = address_q;
  assign strobe_o        = strobe_q;
  assign data_o          = request_data_q;
  assign request_id_o    = id_q;
  assign stored_o        = '{valid: stored_step_q, id: stored_id_q, last: store_last_q};

  // Answers ----------------------------------------------------------------------------------------------------------
  typedef struct packed {
    id_t                   id;
    logic                  word_ends;
    logic                  last;
    word_t                 word;
    logic                  whole;
    logic [2:0]            element;   // place in a share, in bytes
    logic [Ports-1:0]      active;
    logic [Ports-1:0][2:0] offset;    // place in the answer
    logic [Ports-1:0][7:0] enabled;
  } group_t;

  group_t made, group;
  logic group_valid, group_taken;
  logic [$clog2(Outstanding+2)-1:0] group_usage;

  always_comb begin
    made.id        = instruction_i.id;
    made.word_ends = last_element | empty;
    made.last      = last | empty;
    made.word      = instruction_i.vd + word_q;
    made.whole     = whole_words;
    made.element   = element_q << width;
    made.active    = active;
    made.enabled   = enabled;
    for (int port = 0; port < int'(Ports); port++) made.offset[port] = target[port][2:0];
  end

  fifo #(
    .Width($bits(group_t)),
    .Depth(Outstanding + 1)
  ) u_groups (
    .clk_i,
    .rst_ni,
    .valid_i(makes & ~c.store),
    .ready_o(groups_ready),
    .data_i (made),
    .valid_o(group_valid),
    .ready_i(group_taken),
    .data_o (group),
    .usage_o(group_usage)
  );

  logic [Ports-1:0] answered, answer_room;
  logic [Ports-1:0][63:0] answer;
  logic [Ports-1:0][$clog2(Outstanding+2)-1:0] answer_usage;
  for (genvar port = 0; port < Ports; port++) begin : gen_answers
    fifo #(
      .Width(64),
      .Depth(Outstanding + 1)
    ) u_answers (
      .clk_i,
      .rst_ni,
      .valid_i(answer_valid_i[port]),
      .ready_o(answer_room[port]),
      .data_i (answer_data_i[port]),
      .valid_o(answered[port]),
      .ready_i(group_taken & group.active[port]),
      .data_o (answer[port]),
      .usage_o(answer_usage[port])
    );
  end

  data_t word_data_q, word_data;
  strobe_t word_strobe_q, word_strobe;
  always_comb begin
    word_data   = word_data_q;
    word_strobe = word_strobe_q;
    for (int port = 0; port < int'(Ports); port++) begin
      logic [63:0] moved;
      moved = group.whole ? answer[port]
                          : (answer[port] >> {group.offset[port], 3'b000}) << {group.element, 3'b000};
      for (int b = 0; b < 8; b++) begin
        if (group.active[port] && group.enabled[port][b]) begin
          word_data[64*port+8*b+:8] = moved[8*b+:8];
          word_strobe[8*port+b]     = 1'b1;
        end
      end
    end
  end

  // Words on their way to the register file.
  typedef struct packed {
    id_t     id;
    logic    last;
    word_t   word;
    strobe_t strobe;
    data_t   data;
  } written_t;
  logic write_room, write_waits, write_leaves;
  written_t waiting;

  spill_register #(
    .Width($bits(written_t))
  ) u_written (
    .clk_i,
    .rst_ni,
    .valid_i(group_taken & group.word_ends),
    .ready_o(write_room),
    .data_i ({group.id, group.last, group.word, word_strobe, word_data}),
    .valid_o(write_waits),
    .ready_i(write_leaves),
    .data_o (waiting)
  );

  assign group_taken = group_valid & ((group.active & ~answered) == '0) & (write_room | ~group.word_ends);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) word_strobe_q <= '0;
    else if (group_taken) word_strobe_q <= group.word_ends ? '0 : word_strobe;
  end
  always_ff @(posedge clk_i) begin
    if (group_taken) word_data_q <= word_data;
  end

  assign check_o[3]   = waiting.word;
  assign writer_o     = waiting.id;
  assign write_o      = '{valid: write_waits && free_i[3] && waiting.strobe != '0, id: waiting.id, word: waiting.word,
                          strobe: waiting.strobe, data: waiting.data};
  assign write_leaves = write_waits & free_i[3] & (written_i | (waiting.strobe == '0));
  assign loaded_o     = '{valid: write_leaves, id: waiting.id, last: waiting.last};

  // A store may begin in the cycle in which the last load's last word is written.
  logic [3:0] loads_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) loads_q <= '0;
    else loads_q <= loads_q + 4'(makes && !c.store && (last || empty)) - 4'(loaded_o.valid & loaded_o.last);
  end
  assign loads_under_way = loads_q != 4'(loaded_o.valid & loaded_o.last);

  logic unused;
  assign unused = ^{instruction_i, c, group_usage, answer_room, answer_usage, request_last_q};

  `POTLUCK_ASSERT(Room, !(|(answer_valid_i & ~answer_room)))

endmodule
