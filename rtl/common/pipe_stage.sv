// Stages registers in a row with a valid/ready handshake; no registers make it a wire. A stage moves on when the
// next is free or moves on itself, so bubbles close up and a full row still takes one item a cycle.
`include "assertions.svh"

module pipe_stage #(
  parameter int unsigned Width  = 8,
  parameter int unsigned Stages = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,
  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

  if (Stages == 0) begin : gen_wire
    assign valid_o = valid_i;
    assign ready_o = ready_i;
    assign data_o  = data_i;
    // Only the registers would use them.
    logic unused;
    assign unused = ^{clk_i, rst_ni};
  end else begin : gen_registers
    logic [Stages:0] valid;
    logic [Stages:0] ready;
    logic [Stages:0][Width-1:0] data;

    assign valid[0] = valid_i;
    assign data[0]  = data_i;
    assign ready_o  = ready[0];
    for (genvar stage = 0; stage < Stages; stage++) begin : gen_stage
      logic valid_q;
      logic [Width-1:0] data_q;
      assign ready[stage]   = ready[stage+1] | ~valid_q;
      assign valid[stage+1] = valid_q;
      assign data[stage+1]  = data_q;
      always_ff @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) begin
          valid_q <= 1'b0;
        end else if (ready[stage]) begin
          valid_q <= valid[stage];
        end
      end
      always_ff @(posedge clk_i) begin
        if (ready[stage] && valid[stage]) data_q <= data[stage];
      end
    end
    assign ready[Stages] = ready_i;
    assign valid_o = valid[Stages];
    assign data_o  = data[Stages];

    `POTLUCK_ASSERT_STABLE(Output, valid_o, ready_i, data_o)
  end

endmodule
