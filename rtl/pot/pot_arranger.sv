// Results in the order in which their blocks were handed out, then the end word; or the one beat of a refused packet.
`include "assertions.svh"

module pot_arranger
  import potluck_pot_pkg::*;
#(
  parameter int unsigned Units = 4
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,

  input  logic                        start_i,
  input  logic [15:0]                 row_blocks_i,  // with start_i, as blocks_i
  input  logic [15:0]                 blocks_i,
  input  status_e                     status_i,
  output logic                        drained_o,     // nothing of a COMPUTE is left

  input  logic [Units-1:0]            valid_i,
  output logic [Units-1:0]            ready_o,
  input  logic [Units-1:0][3:0][31:0] result_i,

  output logic                        valid_o,
  input  logic                        ready_i,
  output logic [3:0][31:0]            beat_o,
  output logic                        last_o         // of all four words
);

  typedef enum logic [1:0] {
    Idle,
    Results,
    End,
    Failed
  } state_e;

  state_e state_q;
  logic [Units-1:0] unit_q;
  logic [15:0] rows_left_q, blocks_q, blocks_left_q;
  logic last_block, last_row, sent, reported_q;
  logic [3:0][31:0] result;

  assign last_block = blocks_left_q == 16'd1;
  assign last_row   = rows_left_q == 16'd1;
  assign sent       = valid_o & ready_i;

  always_comb begin
    result = '0;
    for (int u = 0; u < Units; u++) begin
      if (unit_q[u]) result |= result_i[u];
    end
  end

  always_comb begin
    case (state_q)
      Results: begin
        valid_o = |(valid_i & unit_q);
        beat_o  = result;
      end
      End: begin
        valid_o = 1'b1;
        beat_o  = {4{END_WORD}};
      end
      Failed: begin
        valid_o = ~reported_q;
        beat_o  = {4{FAILED_WORD | 32'(status_i)}};
      end
      default: begin
        valid_o = 1'b0;
        beat_o  = '0;
      end
    endcase
  end

  assign last_o    = state_q != Results;
  assign ready_o   = (state_q == Results && ready_i) ? unit_q : '0;
  assign drained_o = state_q == Idle;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state_q       <= Idle;
      unit_q        <= Units'(1);
      rows_left_q   <= '0;
      blocks_q      <= '0;
      blocks_left_q <= '0;
      reported_q    <= 1'b0;
    end else begin
      case (state_q)
        Idle: begin
          unit_q        <= Units'(1);
          rows_left_q   <= row_blocks_i;
          blocks_q      <= blocks_i;
          blocks_left_q <= blocks_i;
          if (start_i) state_q <= Results;
          else if (status_i != OK) state_q <= Failed;
        end
        Results: begin
          if (sent) begin
            blocks_left_q <= last_block ? blocks_q : blocks_left_q - 16'd1;
            unit_q        <= last_block ? Units'(1) : Units'({unit_q, unit_q[Units-1]});
            if (last_block) rows_left_q <= rows_left_q - 16'd1;
            if (last_block && last_row) state_q <= End;
          end
        end
        End: if (sent) state_q <= Idle;
        default: if (sent) reported_q <= 1'b1;
      endcase
    end
  end

  `POTLUCK_ASSERT_STABLE(Output, valid_o, ready_i, {beat_o, last_o})

endmodule
