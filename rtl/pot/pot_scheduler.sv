// One COMPUTE, in the steps and times of PoTAcc's v12 scheduler: for every four rows wait until no unit works (a cycle
// to look at each), broadcast the rows to all units, and hand the weight blocks to the units in turn, each in two
// cycles to fetch it, two to start a unit that is ready, two to go on; at the end wait until the results have left.
module pot_scheduler #(
  parameter int unsigned Units       = 4,
  parameter int unsigned LineWidth   = 5,  // of a number of lines, less one
  parameter int unsigned WordWidth   = 5,
  parameter int unsigned GlobalWidth = 7,
  parameter int unsigned GroupWidth  = 3,
  parameter int unsigned LinesPerWord = 2
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,

  input  logic                   start_i,
  input  logic [15:0]            row_blocks_i,  // with start_i, as blocks_i
  input  logic [15:0]            blocks_i,
  input  logic [LineWidth:0]     lines_i,
  output logic                   done_o,        // in the last cycle

  output logic                   global_read_o,
  output logic [GlobalWidth-1:0] global_address_o,
  output logic                   input_write_o,  // what was read goes to all units
  output logic [LineWidth-1:0]   input_address_o,

  input  logic [Units-1:0]       unit_ready_i,
  output logic [Units-1:0]       unit_start_o,
  output logic [WordWidth-1:0]   unit_word_o,
  output logic [GroupWidth-1:0]  unit_group_o,

  input  logic                   drained_i      // all results and the end word have left
);

  typedef enum logic [3:0] {
    Idle,
    Poll,
    Lead,
    Broadcast,
    Fetch,
    Fetched,
    Wait,
    Start,
    Started,
    Next,
    LastPoll,
    Settle,
    Finish,
    Done
  } state_e;

  state_e state_q;
  logic [Units-1:0] unit_q, next_unit;
  logic [15:0] rows_left_q, blocks_q, blocks_left_q;
  logic [LineWidth:0] line_q;
  logic [GlobalWidth-1:0] global_q;
  logic [WordWidth-1:0] word_q;
  logic [GroupWidth-1:0] group_q;
  logic write_q;
  logic [LineWidth-1:0] write_address_q;
  logic at_last_unit, unit_ready, last_line, last_block, last_row;

  assign next_unit    = Units'({unit_q, unit_q[Units-1]});
  assign at_last_unit = unit_q[Units-1];
  assign unit_ready   = |(unit_ready_i & unit_q);
  assign last_line    = line_q == lines_i - (LineWidth + 1)'(1);
  assign last_block   = blocks_left_q == 16'd1;
  assign last_row     = rows_left_q == 16'd1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q       <= Idle;
      unit_q        <= Units'(1);
      rows_left_q   <= '0;
      blocks_q      <= '0;
      blocks_left_q <= '0;
      line_q        <= '0;
      global_q      <= '0;
      word_q        <= '0;
      group_q       <= '0;
      write_q       <= 1'b0;
    end else begin
      write_q <= state_q == Broadcast;
      case (state_q)
        Idle: begin
          unit_q      <= Units'(1);
          rows_left_q <= row_blocks_i;
          blocks_q    <= blocks_i;
          global_q    <= '0;
          if (start_i) state_q <= Poll;
        end
        Poll: begin
          line_q        <= '0;
          word_q        <= '0;
          group_q       <= '0;
          blocks_left_q <= blocks_q;
          if (unit_ready) begin
            unit_q <= next_unit;
            if (at_last_unit) state_q <= Lead;
          end
        end
        Lead: state_q <= Broadcast;
        Broadcast: begin
          line_q   <= line_q + (LineWidth + 1)'(1);
          global_q <= global_q + GlobalWidth'(1);
          if (last_line) state_q <= Fetch;
        end
        Fetch: state_q <= Fetched;
        Fetched: state_q <= Wait;
        Wait: if (unit_ready) state_q <= Start;
        Start: state_q <= Started;
        Started: state_q <= Next;
        Next: begin
          blocks_left_q <= blocks_left_q - 16'd1;
          unit_q        <= next_unit;
          state_q       <= Fetch;
          if (at_last_unit) begin
            group_q <= group_q + GroupWidth'(1);
            word_q  <= word_q + WordWidth'(32'(lines_i) >> $clog2(LinesPerWord));
          end
          if (last_block) begin
            unit_q      <= Units'(1);
            rows_left_q <= rows_left_q - 16'd1;
            state_q     <= last_row ? LastPoll : Poll;
          end
        end
        LastPoll: begin
          if (unit_ready) begin
            unit_q <= next_unit;
            if (at_last_unit) state_q <= Settle;
          end
        end
        Settle: state_q <= Finish;
        Finish: state_q <= Done;
        Done: if (drained_i) state_q <= Idle;
        default: state_q <= Idle;
      endcase
    end
  end

  always_ff @(posedge clk_i) write_address_q <= line_q[LineWidth-1:0];

  assign done_o           = (state_q == Done) & drained_i;
  assign global_read_o    = state_q == Broadcast;
  assign global_address_o = global_q;
  assign input_write_o    = write_q;
  assign input_address_o  = write_address_q;
  assign unit_start_o     = (state_q == Started) ? unit_q : '0;
  assign unit_word_o      = word_q;
  assign unit_group_o     = group_q;

endmodule
