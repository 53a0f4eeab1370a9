// Transfers in the order in which they were asked for. One side asks for the beats of the source, a beat a cycle, and
// goes on to the next transfer while the first one's data are on their way; the other side writes the target from the
// bytes that have come. A transfer is complete when all its writes are, and so are those before it.
//
// A transfer that reads what one before it writes waits until that is complete (by the extents of both, which may
// overlap although their rows do not).
`include "assertions.svh"

module dma_engine
  import core_pkg::*;
  import cluster_pkg::*;
#(
  parameter int unsigned Setup       = 12,   // cycles from a transfer's arrival to its first request
  parameter int unsigned QueueDepth  = 16,   // transfers that wait for it
  parameter int unsigned Transfers   = 16,   // under way
  parameter int unsigned Outstanding = 256,  // beats asked for
  parameter int unsigned NearBeats   = 4     // of those in L1
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  memory_map_t map_i,

  input  logic        transfer_valid_i,
  output logic        transfer_ready_o,
  input  transfer_t   transfer_i,
  output logic        completed_o,
  output logic        wrong_o,           // a transfer outside memory; nothing is done any more

  // L1: writes and reads, each granted in the same cycle; what is read comes in the next.
  output wide_t       near_write_o,
  input  logic        near_write_granted_i,
  output wide_t       near_read_o,
  input  logic        near_read_granted_i,
  input  logic [8*BeatBytes-1:0] near_data_i,

  // DRAM: requests for beats, which are answered in order; writes are answered, too.
  output logic        far_read_o,
  input  logic        far_read_ready_i,
  output logic [63:0] far_read_address_o,
  input  logic        far_data_valid_i,
  output logic        far_data_ready_o,
  input  logic [8*BeatBytes-1:0] far_data_i,
  output wide_t       far_write_o,
  input  logic        far_write_ready_i,
  input  logic        far_written_i
);

  localparam int unsigned SlotWidth = $clog2(Transfers);
  localparam int unsigned WriteWidth = 16;  // counts writes to DRAM, of which fewer are under way

  // Transfers wait for their set-up, then for the reader.
  transfer_t waiting;
  logic waits, taken, ripe, stage_free;
  logic [Setup-1:0] delay_q;
  logic [$clog2(QueueDepth+1)-1:0] queued, ripe_q;

  fifo #(
    .Width($bits(transfer_t)),
    .Depth(QueueDepth)
  ) u_queue (
    .clk_i,
    .rst_ni,
    .valid_i(transfer_valid_i),
    .ready_o(transfer_ready_o),
    .data_i (transfer_i),
    .valid_o(waits),
    .ready_i(taken),
    .data_o (waiting),
    .usage_o(queued)
  );

  assign ripe  = (ripe_q != '0) | delay_q[Setup-1];
  assign taken = ripe & stage_free;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      delay_q <= '0;
      ripe_q  <= '0;
    end else begin
      delay_q <= Setup'({delay_q, transfer_valid_i & transfer_ready_o});
      ripe_q  <= ripe_q + ($bits(ripe_q))'(delay_q[Setup-1]) - ($bits(ripe_q))'(taken);
    end
  end

  // The transfer that is read, and where its ends lie.
  typedef struct packed {
    transfer_t   transfer;
    logic [63:0] source_low;
    logic [63:0] source_end;
    logic [63:0] target_low;
    logic [63:0] target_end;
    logic        source_far;
    logic        target_far;
    logic        empty;
  } stage_t;

  stage_t stage_q, staged;
  logic stage_valid_q, stage_leaves, source_wrong, target_wrong, wrong_q;

  dma_extents u_source (
    .map_i,
    .start_i (waiting.source),
    .stride_i(waiting.source_stride),
    .size_i  (waiting.size),
    .rows_i  (waiting.rows),
    .writes_i(1'b0),
    .low_o   (staged.source_low),
    .end_o   (staged.source_end),
    .far_o   (staged.source_far),
    .wrong_o (source_wrong)
  );

  dma_extents u_target (
    .map_i,
    .start_i (waiting.target),
    .stride_i(waiting.target_stride),
    .size_i  (waiting.size),
    .rows_i  (waiting.rows),
    .writes_i(1'b1),
    .low_o   (staged.target_low),
    .end_o   (staged.target_end),
    .far_o   (staged.target_far),
    .wrong_o (target_wrong)
  );
  assign staged.transfer = waiting;
  assign staged.empty    = waiting.size == '0 || waiting.rows == '0;

  assign stage_free = (~stage_valid_q | stage_leaves) & ~wrong_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      stage_valid_q <= 1'b0;
      wrong_q       <= 1'b0;
    end else begin
      if (taken) stage_valid_q <= ~(source_wrong | target_wrong);
      else if (stage_leaves) stage_valid_q <= 1'b0;
      if (taken && (source_wrong || target_wrong)) wrong_q <= 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (taken) stage_q <= staged;
  end
  assign wrong_o = wrong_q;

  // Targets of what is under way.
  typedef struct packed {
    logic [63:0] low;
    logic [63:0] behind;
  } target_t;
  target_t [Transfers-1:0] targets_q;
  logic [Transfers-1:0] busy_q, meets;
  logic [SlotWidth-1:0] newest_q, oldest_q;  // Transfers is a power of two

  for (genvar slot = 0; slot < Transfers; slot++) begin : gen_slot
    assign meets[slot] = busy_q[slot] & (stage_q.source_low < targets_q[slot].behind) &
                         (targets_q[slot].low < stage_q.source_end);
  end

  // The reader. A transfer begins when there is a place for it.
  logic begins, may_begin, begun_q, read_first, read_last, reads, read_taken, near_room, tracker_ready, writer_ready;
  logic [63:0] read_address, target_row_q, target_row;
  logic [6:0] read_bytes;
  logic [31:0] read_done;
  logic [5:0] read_shift;

  dma_rows u_read (
    .clk_i,
    .rst_ni,
    .start_i  (stage_q.transfer.source),
    .stride_i (stage_q.transfer.source_stride),
    .size_i   (stage_q.transfer.size),
    .rows_i   (stage_q.transfer.rows),
    .take_i   (read_taken),
    .first_o  (read_first),
    .last_o   (read_last),
    .address_o(read_address),
    .bytes_o  (read_bytes),
    .done_o   (read_done)
  );

  assign may_begin = stage_valid_q & ~busy_q[newest_q] & writer_ready & (stage_q.empty | (meets == '0));
  assign begins    = may_begin & ~begun_q & (stage_q.empty | read_taken);
  assign reads     = stage_valid_q & ~stage_q.empty & (begun_q | may_begin) & tracker_ready;

  assign far_read_o         = reads & stage_q.source_far;
  assign far_read_address_o = {read_address[63:6], 6'd0};
  assign near_read_o = '{valid: reads & ~stage_q.source_far & near_room, write: 1'b0, strobe: '0, data: '0,
                         address: {read_address[63:6], 6'd0}};
  assign read_taken   = (far_read_o & far_read_ready_i) | (near_read_o.valid & near_read_granted_i);
  assign stage_leaves = stage_q.empty ? begins : read_taken & read_last;

  // The lane that the beat's first byte leaves by, from the one that it comes in.
  assign target_row = read_first ? stage_q.transfer.target : target_row_q;
  assign read_shift = 6'(target_row + 64'(read_done) - read_address);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      begun_q  <= 1'b0;
      newest_q <= '0;
      oldest_q <= '0;
      busy_q   <= '0;
    end else begin
      if (stage_leaves) begun_q <= 1'b0;
      else if (begins) begun_q <= 1'b1;
      if (begins) newest_q <= newest_q + SlotWidth'(1);
      if (completed_o) oldest_q <= oldest_q + SlotWidth'(1);
      if (completed_o) busy_q[oldest_q] <= 1'b0;
      if (begins) busy_q[newest_q] <= 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (begins) targets_q[newest_q] <= '{low: stage_q.target_low, behind: stage_q.target_end};
    if (read_taken) begin
      target_row_q <= (read_done + 32'(read_bytes) == stage_q.transfer.size)
                    ? target_row + stage_q.transfer.target_stride : target_row;
    end
  end

  // Beats under way, in order.
  typedef struct packed {
    logic       from_dram;
    logic [5:0] offset;
    logic [6:0] bytes;
    logic [5:0] shift;
  } beat_t;
  beat_t beat;
  logic beat_valid, beat_taken, near_taken, near_valid, near_ready;
  logic [$clog2(Outstanding+1)-1:0] beats;
  logic [$clog2(NearBeats+1)-1:0] near_queued, near_asked_q;
  logic near_arrives_q;
  logic [8*BeatBytes-1:0] near_data, arrived, turned;
  logic [BeatBytes-1:0] arrived_mask, turned_mask, room;

  fifo #(
    .Width($bits(beat_t)),
    .Depth(Outstanding)
  ) u_beats (
    .clk_i,
    .rst_ni,
    .valid_i(read_taken),
    .ready_o(tracker_ready),
    .data_i ({stage_q.source_far, read_address[5:0], read_bytes, read_shift}),
    .valid_o(beat_valid),
    .ready_i(beat_taken),
    .data_o (beat),
    .usage_o(beats)
  );

  fifo #(
    .Width      (8 * BeatBytes),
    .Depth      (NearBeats),
    .FallThrough(1'b1)
  ) u_near (
    .clk_i,
    .rst_ni,
    .valid_i(near_arrives_q),
    .ready_o(near_ready),
    .data_i (near_data_i),
    .valid_o(near_valid),
    .ready_i(near_taken),
    .data_o (near_data),
    .usage_o(near_queued)
  );

  assign near_taken = beat_taken & ~beat.from_dram;
  assign near_room  = near_asked_q != ($bits(near_asked_q))'(NearBeats);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      near_arrives_q <= 1'b0;
      near_asked_q   <= '0;
    end else begin
      near_arrives_q <= near_read_o.valid & near_read_granted_i;
      near_asked_q   <= near_asked_q + ($bits(near_asked_q))'(near_read_o.valid & near_read_granted_i)
                        - ($bits(near_asked_q))'(near_taken);
    end
  end

  assign arrived          = beat.from_dram ? far_data_i : near_data;
  assign arrived_mask     = BeatBytes'((65'd1 << beat.bytes) - 65'd1) << beat.offset;
  assign turned_mask      = BeatBytes'({arrived_mask, arrived_mask} >> (7'd64 - 7'(beat.shift)));
  assign turned           = (8*BeatBytes)'({arrived, arrived} >> {7'd64 - 7'(beat.shift), 3'b000});
  assign beat_taken       = beat_valid & (beat.from_dram ? far_data_valid_i : near_valid) & ((turned_mask & ~room) == '0);
  assign far_data_ready_o = beat_taken & beat.from_dram;

  // The writer.
  typedef struct packed {
    logic [63:0] target;
    logic [63:0] stride;
    logic [31:0] size;
    logic [31:0] rows;
    logic        to_dram;
    logic        empty;
  } job_t;
  job_t job;
  logic job_valid, job_done, write_first, write_last, writes, write_taken, done_ready;
  logic [$clog2(Transfers+1)-1:0] jobs;
  logic [63:0] write_address;
  logic [6:0] write_bytes;
  logic [31:0] write_done;
  logic [BeatBytes-1:0] write_mask, there;
  logic [8*BeatBytes-1:0] write_data;

  fifo #(
    .Width($bits(job_t)),
    .Depth(Transfers)
  ) u_jobs (
    .clk_i,
    .rst_ni,
    .valid_i(begins),
    .ready_o(writer_ready),
    .data_i ({stage_q.transfer.target, stage_q.transfer.target_stride, stage_q.transfer.size, stage_q.transfer.rows,
              stage_q.target_far, stage_q.empty}),
    .valid_o(job_valid),
    .ready_i(job_done),
    .data_o (job),
    .usage_o(jobs)
  );

  dma_rows u_write (
    .clk_i,
    .rst_ni,
    .start_i  (job.target),
    .stride_i (job.stride),
    .size_i   (job.size),
    .rows_i   (job.rows),
    .take_i   (write_taken),
    .first_o  (write_first),
    .last_o   (write_last),
    .address_o(write_address),
    .bytes_o  (write_bytes),
    .done_o   (write_done)
  );

  dma_lanes u_lanes (
    .clk_i,
    .rst_ni,
    .push_i ({BeatBytes{beat_taken}} & turned_mask),
    .data_i (turned),
    .room_o (room),
    .pop_i  ({BeatBytes{write_taken}} & write_mask),
    .there_o(there),
    .data_o (write_data)
  );

  assign write_mask = BeatBytes'((65'd1 << write_bytes) - 65'd1) << write_address[5:0];
  assign writes     = job_valid & ~job.empty & ((write_mask & ~there) == '0) & done_ready;

  wide_t beat_out;
  always_comb begin
    beat_out           = '{valid: writes, write: 1'b1, address: {write_address[63:6], 6'd0}, strobe: write_mask,
                           data: write_data};
    near_write_o       = beat_out;
    near_write_o.valid = writes & ~job.to_dram;
    far_write_o        = beat_out;
    far_write_o.valid  = writes & job.to_dram;
  end
  assign write_taken = (near_write_o.valid & near_write_granted_i) | (far_write_o.valid & far_write_ready_i);
  assign job_done    = job.empty ? job_valid & done_ready : write_taken & write_last;

  // Completion: of every transfer that has been written, how many writes DRAM has to answer.
  logic [WriteWidth-1:0] asked_q, answered_q, asked, answered, behind, needed;
  logic done_valid;
  logic [$clog2(Transfers+1)-1:0] dones;

  assign asked    = asked_q + WriteWidth'(far_write_o.valid & far_write_ready_i);
  assign answered = answered_q + WriteWidth'(far_written_i);
  assign behind   = answered - needed;

  fifo #(
    .Width      (WriteWidth),
    .Depth      (Transfers),
    .FallThrough(1'b1)
  ) u_done (
    .clk_i,
    .rst_ni,
    .valid_i(job_done),
    .ready_o(done_ready),
    .data_i (asked),
    .valid_o(done_valid),
    .ready_i(completed_o),
    .data_o (needed),
    .usage_o(dones)
  );

  assign completed_o = done_valid & ~behind[WriteWidth-1];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      asked_q    <= '0;
      answered_q <= '0;
    end else begin
      asked_q    <= asked;
      answered_q <= answered;
    end
  end

  logic unused;
  assign unused = ^{waits, queued, beats, near_queued, near_ready, jobs, dones, write_first, write_done, behind};

  `POTLUCK_ASSERT(TransferWaits, taken |-> waits)
  `POTLUCK_ASSERT(DataExpected, far_data_valid_i |-> beat_valid)
  `POTLUCK_ASSERT(NearRoom, near_arrives_q |-> near_ready)
  `POTLUCK_ASSERT(AnswerExpected, far_written_i |-> asked_q != answered_q)
  `POTLUCK_ASSERT(InOrder, completed_o |-> busy_q[oldest_q] || begins)

endmodule
