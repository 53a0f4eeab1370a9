// Commands from the input streams: checks headers, writes loads to the buffers, starts the scheduler.
//
// A packet is a header beat (opcode, three arguments) and its payload; TLAST belongs to all four words of its last beat
// and to no other. The first fault in the order of status_e stops the array: from then on beats are taken and dropped.
module pot_command
  import potluck_pot_pkg::*;
#(
  parameter int unsigned CodeSet     = SET_ANY,
  parameter int unsigned Units       = 4,
  parameter int unsigned WeightLines = 64,  // of a unit
  parameter int unsigned InputLines  = 32,  // of a unit
  parameter int unsigned GlobalLines = 128,
  parameter int unsigned Groups      = 8,   // of a unit
  localparam int unsigned LinesPerWord = (CodeSet == SET_INT8) ? 1 : 2,
  localparam int unsigned WordWidth   = $clog2(WeightLines / LinesPerWord),
  localparam int unsigned InputWidth  = $clog2(InputLines),
  localparam int unsigned GlobalWidth = $clog2(GlobalLines),
  localparam int unsigned GroupWidth  = $clog2(Groups)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,

  input  logic                   valid_i,
  output logic                   ready_o,
  input  logic [3:0][31:0]       beat_i,
  input  logic [3:0]             last_i,

  output status_e                status_o,

  output code_set_e              code_set_o,
  output logic [InputWidth:0]    lines_o,
  output logic [7:0]             zero_point_o,
  output logic [7:0]             low_o,
  output logic [7:0]             high_o,

  output logic [Units-1:0]       weight_write_o,
  output logic [WordWidth-1:0]   weight_address_o,
  output logic [Units-1:0][2:0]  parameter_write_o,
  output logic [GroupWidth-1:0]  parameter_group_o,
  output logic                   global_write_o,
  output logic [GlobalWidth-1:0] global_address_o,

  output logic                   start_o,
  output logic [15:0]            row_blocks_o,  // with start_o, as blocks_o
  output logic [15:0]            blocks_o,
  input  logic                   done_i         // in the last cycle of a COMPUTE
);

  typedef enum logic [2:0] {
    Header,
    Weights,
    Parameters,
    Inputs,
    Compute,
    Failed
  } state_e;

  state_e state_q;
  status_e status_q, fault;
  code_set_e code_set_q;
  logic configured_q;
  logic [InputWidth:0] lines_q;
  logic [7:0] zero_point_q, low_q, high_q;
  logic [15:0] loaded_blocks_q, loaded_rows_q;

  // A header.
  logic [31:0] opcode, first, second, third;
  assign {third, second, first, opcode} = beat_i;

  logic mode_ok, depth_ok, weights_fit, inputs_fit, payload;
  logic [15:0] local_blocks;
  logic [31:0] lines, weight_lines, input_lines, words;

  assign lines        = 32'(lines_q);
  assign words        = (LinesPerWord == 2) ? lines >> 1 : lines;
  assign local_blocks = 16'((first + Units - 1) / Units);
  assign weight_lines = 32'(local_blocks) * lines;
  assign input_lines  = 32'(first[15:0]) * lines;

  always_comb begin
    if (CodeSet == SET_ANY) mode_ok = third < SET_INT8;
    else mode_ok = third == CodeSet;
    if ($signed(second[15:8]) > $signed(second[23:16]) || second[31:24] != '0) mode_ok = 1'b0;
  end

  assign depth_ok    = first != '0 && first[3:0] == '0 && first <= (4 * InputLines);
  assign weights_fit = first != '0 && first <= (Units * Groups) && weight_lines <= WeightLines
                     && second == words;
  assign inputs_fit  = first != '0 && first <= (GlobalLines / 4) && input_lines <= GlobalLines
                     && second == lines;
  assign payload     = opcode == OP_LOAD_WEIGHTS || opcode == OP_LOAD_INPUTS;

  always_comb begin
    fault = OK;
    case (opcode)
      OP_NOP: if (first != '0 || second != '0 || third != '0) fault = BAD_SIZE;
      OP_CONFIG: begin
        if (!mode_ok) fault = BAD_MODE;
        else if (!depth_ok) fault = BAD_SIZE;
      end
      OP_COMPUTE: begin
        if (third != '0 || first == '0 || second == '0) fault = BAD_SIZE;
        else if (first > 32'(loaded_rows_q) || second > 32'(loaded_blocks_q)) fault = NOT_LOADED;
      end
      OP_LOAD_WEIGHTS: begin
        if (third != '0) fault = BAD_SIZE;
        else if (!configured_q) fault = NOT_LOADED;
        else if (!weights_fit) fault = BAD_SIZE;
      end
      OP_LOAD_INPUTS: begin
        if (third != '0) fault = BAD_SIZE;
        else if (!configured_q) fault = NOT_LOADED;
        else if (!inputs_fit) fault = BAD_SIZE;
      end
      default: fault = BAD_OPCODE;
    endcase
  end

  // A payload: which unit, which block of it, which word of the block.
  logic [Units-1:0] unit_q, next_unit;
  logic [15:0] blocks_q, block_q;
  logic [31:0] beats_q, beat_q;  // of a block, or of all inputs
  logic [GroupWidth-1:0] group_q;
  logic [WordWidth-1:0] word_q;
  logic [1:0] parameter_q;
  logic last_of_block, last_block, last_beat;

  assign next_unit = Units'({unit_q, unit_q[Units-1]});
  assign last_block = block_q == blocks_q - 16'd1;
  assign last_of_block = (state_q == Parameters) ? parameter_q == 2'd2 : beat_q == beats_q - 32'd1;

  always_comb begin
    case (state_q)
      Parameters: last_beat = last_of_block & last_block;
      Inputs:     last_beat = last_of_block;
      Header:     last_beat = ~payload;
      default:    last_beat = 1'b0;
    endcase
  end

  logic taken;
  status_e status_d;
  assign ready_o = state_q != Compute;
  assign taken   = valid_i & ready_o & (state_q != Failed);

  always_comb begin
    status_d = status_q;
    if (taken) begin
      if (state_q == Header && fault != OK) status_d = fault;
      else if (!last_beat && last_i != '0) status_d = EARLY_LAST;
      else if (last_beat && last_i != '1) status_d = MISSING_LAST;
    end
  end

  logic good;
  assign good = taken & (status_d == OK);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q         <= Header;
      status_q        <= OK;
      configured_q    <= 1'b0;
      code_set_q      <= code_set_e'(0);
      lines_q         <= '0;
      zero_point_q    <= '0;
      low_q           <= 8'h80;
      high_q          <= 8'h7F;
      loaded_blocks_q <= '0;
      loaded_rows_q   <= '0;
      unit_q          <= Units'(1);
      blocks_q        <= '0;
      block_q         <= '0;
      beats_q         <= '0;
      beat_q          <= '0;
      group_q         <= '0;
      word_q          <= '0;
      parameter_q     <= '0;
    end else begin
      status_q <= status_d;
      if (status_d != OK) state_q <= Failed;
      if (state_q == Compute && done_i) state_q <= Header;
      if (good && state_q == Header) begin
        unit_q      <= Units'(1);
        blocks_q    <= first[15:0];
        block_q     <= '0;
        beats_q     <= second;
        beat_q      <= '0;
        group_q     <= '0;
        word_q      <= '0;
        parameter_q <= '0;
        case (opcode)
          OP_CONFIG: begin
            configured_q    <= 1'b1;
            code_set_q      <= code_set_e'(third[$bits(code_set_e)-1:0]);
            lines_q         <= first[InputWidth+2:2];
            zero_point_q    <= second[7:0];
            low_q           <= second[15:8];
            high_q          <= second[23:16];
            loaded_blocks_q <= '0;
            loaded_rows_q   <= '0;
          end
          OP_LOAD_WEIGHTS: state_q <= Weights;
          OP_LOAD_INPUTS: begin
            state_q <= Inputs;
            beats_q <= input_lines;
          end
          OP_COMPUTE: state_q <= Compute;
          default: ;
        endcase
      end else if (good) begin
        beat_q <= beat_q + 32'd1;
        if (state_q == Weights) word_q <= word_q + WordWidth'(1);
        if (state_q == Parameters) parameter_q <= parameter_q + 2'd1;
        if (last_of_block) begin
          beat_q      <= '0;
          parameter_q <= '0;
          block_q     <= last_block ? '0 : block_q + 16'd1;
          unit_q      <= last_block ? Units'(1) : next_unit;
          if (last_block) begin
            group_q <= '0;
            if (state_q == Weights) state_q <= Parameters;
          end else if (unit_q[Units-1]) begin
            group_q <= group_q + GroupWidth'(1);
          end else if (state_q == Weights) begin
            // The next unit's block lies at the same place.
            word_q <= word_q - WordWidth'(beats_q - 32'd1);
          end
        end
        if (last_beat) begin
          state_q <= Header;
          if (state_q == Inputs) loaded_rows_q <= blocks_q;
          else loaded_blocks_q <= blocks_q;
        end
      end
    end
  end

  assign weight_write_o    = (good && state_q == Weights) ? unit_q : '0;
  assign weight_address_o  = word_q;
  assign parameter_group_o = group_q;
  assign global_write_o    = good && state_q == Inputs;
  assign global_address_o  = beat_q[GlobalWidth-1:0];
  for (genvar u = 0; u < Units; u++) begin : gen_unit
    assign parameter_write_o[u] = (good && state_q == Parameters && unit_q[u]) ? 3'd1 << parameter_q : '0;
  end

  assign start_o      = good && state_q == Header && opcode == OP_COMPUTE;
  assign row_blocks_o = first[15:0];
  assign blocks_o     = second[15:0];

  assign status_o     = status_q;
  assign code_set_o   = code_set_q;
  assign lines_o      = lines_q;
  assign zero_point_o = zero_point_q;
  assign low_o        = low_q;
  assign high_o       = high_q;

endmodule
