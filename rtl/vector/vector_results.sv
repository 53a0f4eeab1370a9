// Results of the arithmetic on their way to the register file, in order. One that finds its bank taken waits here, so that the
// lanes go on; when half of the places are taken, they go before the load/store unit's.
module vector_results
  import vector_unit_pkg::*;
#(
  parameter int unsigned Depth = 4
) (
  input  logic       clk_i,
  input  logic       rst_ni,

  input  logic       valid_i,
  output logic       ready_o,
  input  result_t    result_i,

  output vrf_write_t write_o,
  input  logic       written_i,
  output logic       first_o,     // before the load/store unit's
  output progress_t  progress_o
);

  localparam int unsigned UsageWidth = $clog2(Depth + 1);

  result_t head;
  logic has_head, leaves;
  logic [UsageWidth-1:0] usage;

  fifo #(
    .Width      ($bits(result_t)),
    .Depth      (Depth),
    .FallThrough(1'b1)
  ) u_waiting (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i (result_i),
    .valid_o(has_head),
    .ready_i(leaves),
    .data_o (head),
    .usage_o(usage)
  );

  // A step may write nothing.
  assign leaves     = has_head & (~head.write.valid | written_i);
  assign first_o    = usage >= UsageWidth'(Depth / 2);
  assign progress_o = '{valid: leaves, id: head.write.id, last: head.last};

  always_comb begin
    write_o       = head.write;
    write_o.valid = has_head & head.write.valid;
  end

endmodule
