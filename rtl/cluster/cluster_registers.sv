// The cluster's registers, which cores load: how many cores there are, the barrier, and the time in cycles. What is taken
// is answered in the next cycle, but a load of the barrier only when every core that has not stopped has asked for it.
`include "assertions.svh"

module cluster_registers #(
  parameter int unsigned Cores = 1
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic running_i,              // time passes
  input  logic [Cores-1:0] stopped_i,
  input  logic [Cores-1:0] request_i,  // of a load, which is always taken
  input  logic [Cores-1:0][1:0] number_i,
  output logic [Cores-1:0] answer_o,
  output logic [Cores-1:0][63:0] data_o
);

  localparam logic [1:0] Count = 2'd0, Barrier = 2'd1, Timer = 2'd2;

  logic [63:0] cycle_q;
  logic [Cores-1:0] answer_q, waiting_q;
  logic [Cores-1:0][63:0] data_q;
  logic everybody;

  assign everybody = (waiting_q | stopped_i) == '1;

  for (genvar core = 0; core < Cores; core++) begin : gen_core
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        answer_q[core]  <= 1'b0;
        waiting_q[core] <= 1'b0;
      end else begin
        answer_q[core] <= request_i[core] && number_i[core] != Barrier;
        if (request_i[core] && number_i[core] == Barrier) waiting_q[core] <= 1'b1;
        else if (everybody) waiting_q[core] <= 1'b0;
      end
    end
    always_ff @(posedge clk_i) begin
      if (request_i[core]) data_q[core] <= (number_i[core] == Timer) ? cycle_q + 64'd1 : 64'(Cores);
    end
    assign answer_o[core] = answer_q[core] | (waiting_q[core] & everybody);
    assign data_o[core]   = waiting_q[core] ? '0 : data_q[core];

    `POTLUCK_ASSERT(OneLoad, request_i[core] |-> !waiting_q[core] || everybody)
    `POTLUCK_ASSERT(Known, request_i[core] |-> number_i[core] inside {Count, Barrier, Timer})
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) cycle_q <= '0;
    else if (running_i) cycle_q <= cycle_q + 64'd1;
  end

endmodule
