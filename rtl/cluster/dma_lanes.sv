// Bytes between what is read and what is written: a queue for each byte of a beat. Bytes enter in the lanes that they
// will leave by, so that beats at any distance from each other fit together.
`include "assertions.svh"

module dma_lanes
  import cluster_pkg::*;
#(
  parameter int unsigned Depth = 4  // at least two: a beat may end one that is written and begin the next
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [BeatBytes-1:0]   push_i,
  input  logic [8*BeatBytes-1:0] data_i,
  output logic [BeatBytes-1:0]   room_o,
  input  logic [BeatBytes-1:0]   pop_i,
  output logic [BeatBytes-1:0]   there_o,
  output logic [8*BeatBytes-1:0] data_o
);

  localparam int unsigned PlaceWidth = $clog2(Depth);
  localparam int unsigned UsageWidth = $clog2(Depth + 1);

  logic [BeatBytes-1:0][PlaceWidth-1:0] head_q, tail_q;
  logic [BeatBytes-1:0][UsageWidth-1:0] usage_q;

  for (genvar lane = 0; lane < BeatBytes; lane++) begin : gen_lane
    assign room_o[lane]       = usage_q[lane] != UsageWidth'(Depth);
    assign there_o[lane]      = usage_q[lane] != '0;
    logic [7:0] bytes_q[Depth];  // Depth is a power of two
    assign data_o[8*lane+:8]  = bytes_q[head_q[lane]];
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        head_q[lane]  <= '0;
        tail_q[lane]  <= '0;
        usage_q[lane] <= '0;
      end else begin
        head_q[lane]  <= head_q[lane] + PlaceWidth'(pop_i[lane]);
        tail_q[lane]  <= tail_q[lane] + PlaceWidth'(push_i[lane]);
        usage_q[lane] <= usage_q[lane] + UsageWidth'(push_i[lane]) - UsageWidth'(pop_i[lane]);
      end
    end
    always_ff @(posedge clk_i) begin
      if (push_i[lane]) bytes_q[tail_q[lane]] <= data_i[8*lane+:8];
    end
  end

  `POTLUCK_ASSERT(Room, (push_i & ~room_o) == '0)
  `POTLUCK_ASSERT(There, (pop_i & ~there_o) == '0)

endmodule
