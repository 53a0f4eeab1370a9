// The DMA's side of the core: the registers that describe a transfer, the numbers of transfers, and their status.
`include "assertions.svh"

module dma_frontend
  import potluck_isa_pkg::*;
  import core_pkg::*;
  import cluster_pkg::*;
(
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        valid_i,
  output logic        ready_o,
  input  dma_order_t  order_i,
  output logic [63:0] result_o,     // of the order, in the same cycle
  output logic        idle_o,       // every transfer is complete

  output logic        transfer_valid_o,
  input  logic        transfer_ready_i,
  output transfer_t   transfer_o,
  output logic        too_large_o,  // a size or a number of rows that no memory holds
  input  logic        completed_i   // the oldest one
);

  logic [63:0] source_q, target_q, source_stride_q, target_stride_q, repeat_q;
  logic [63:0] count_q, pending_q, rows;
  logic copies, takes;

  assign copies = order_i.op == OP_DMCPYI;
  assign rows   = order_i.selector[1] ? repeat_q : 64'd1;

  assign transfer_valid_o = valid_i & copies;
  assign ready_o          = ~copies | transfer_ready_i;
  assign takes            = transfer_valid_o & transfer_ready_i;
  assign transfer_o = '{
    source: source_q, target: target_q, size: order_i.a[31:0], rows: rows[31:0],
    source_stride: source_stride_q, target_stride: target_stride_q
  };
  assign too_large_o = takes & ((order_i.a[63:32] != '0) | (rows[63:32] != '0));

  always_comb begin
    case (order_i.op)
      OP_DMCPYI:  result_o = count_q + 64'd1;
      OP_DMSTATI: result_o = (order_i.selector == 5'd2) ? 64'(pending_q != '0) : count_q - pending_q;
      default:    result_o = '0;
    endcase
  end
  assign idle_o = pending_q == '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      source_q        <= '0;
      target_q        <= '0;
      source_stride_q <= '0;
      target_stride_q <= '0;
      repeat_q        <= '0;
      count_q         <= '0;
      pending_q       <= '0;
    end else begin
      if (valid_i) begin
        case (order_i.op)
          OP_DMSRC: source_q <= order_i.a;
          OP_DMDST: target_q <= order_i.a;
          OP_DMREP: repeat_q <= order_i.a;
          OP_DMSTR: begin
            source_stride_q <= order_i.a;
            target_stride_q <= order_i.b;
          end
          default: ;
        endcase
      end
      count_q   <= count_q + 64'(takes);
      pending_q <= pending_q + 64'(takes) - 64'(completed_i);
    end
  end

  `POTLUCK_ASSERT(Asked, completed_i |-> pending_q != '0)

endmodule
